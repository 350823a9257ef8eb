//! Questions to the operator before something is overwritten.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use crate::language::t;

use crate::failure::Failure;

/// Whether somebody is there who is asked and must see the plan.
pub fn is_asked(yes: bool) -> bool {
    !yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks twice on a terminal, the second time for the name of each disk. Without a terminal
/// somebody must have said --yes.
pub fn overwriting<'a>(yes: bool, question: &str, disks: impl Iterator<Item = &'a Path>) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !is_asked(yes) {
        return Err(Failure::refused("not-confirmed", &t!("failure.not_confirmed")));
    }
    let declined = || Failure::refused("declined", &t!("failure.declined"));
    if !matches!(ask(question).as_deref(), Some("y" | "yes" | "はい")) {
        return Err(declined());
    }
    for path in disks {
        let name = path.display().to_string();
        if ask(&t!("restore.ask_name", disk = name)).as_deref() != Some(&name) {
            return Err(declined());
        }
    }
    Ok(())
}

/// Asks on the terminal; `None` where nobody answers.
pub fn ask(question: &str) -> Option<String> {
    let _ = write!(std::io::stderr(), "{question} ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).ok()?;
    Some(answer.trim().to_owned())
}
