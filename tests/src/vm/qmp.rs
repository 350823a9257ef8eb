//! The control socket of QEMU.
//!
//! Source: QEMU's "QEMU Machine Protocol Specification": one JSON document a line; a greeting, then commands and answers,
//! with events between them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

/// A socket that takes commands.
pub struct Control {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
}

impl Control {
    /// Greets.
    pub fn new(stream: UnixStream) -> Self {
        let writer = stream.try_clone().unwrap();
        let mut control = Self { reader: BufReader::new(stream), writer };
        assert!(control.next()["QMP"].is_object(), "QEMU greets first");
        control.execute("qmp_capabilities", &json!({}));
        control
    }

    /// Gives a command and waits for its answer.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Value {
        let line = json!({ "execute": command, "arguments": arguments }).to_string();
        self.writer.write_all(format!("{line}\n").as_bytes()).unwrap();
        loop {
            let answer = self.next();
            assert!(answer["error"].is_null(), "{command}: {answer}");
            if let Some(value) = answer.get("return") {
                return value.clone();
            }
        }
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("QEMU: {error}: {line}"))
    }
}
