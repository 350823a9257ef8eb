//! The language of LVM's metadata: sections in braces, names with values, lists in brackets, comments from `#`.
//!
//! The parser is given bytes of anybody: it looks at each byte once, nests to a fixed depth and keeps a limited
//! number of values.
//!
//! Source: lvm2 `libdm/libdm-config.c` (grammar), `lib/format_text/export.c` (what is written).

/// Sections and lists in each other: metadata has 4.
const DEPTH_LIMIT: usize = 16;
/// Values and sections of one text: a volume has about 20.
const NODES_LIMIT: usize = 1 << 20;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `name { … }`
    Section(Section),
    /// `name = 12`
    Number(i64),
    /// `name = "text"`, and everything else that is no whole number.
    Text(String),
    /// `name = [ … ]`
    List(Vec<Node>),
}

/// Names and what they stand for, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    entries: Vec<(String, Node)>,
}

/// What stopped the parser, and at which byte of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Byte offset in the text.
    pub position: usize,
    /// What was expected there.
    pub expected: &'static str,
}

/// Reads a whole text.
pub fn parse(text: &[u8]) -> Result<Section, SyntaxError> {
    let mut parser = Parser { text, position: 0, nodes: 0 };
    let section = parser.entries(0)?;
    match parser.peek() {
        None => Ok(section),
        Some(_) => Err(parser.expected("a name")),
    }
}

impl Section {
    /// The entries in their order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.entries.iter().map(|(name, node)| (name.as_str(), node))
    }

    /// What `name` stands for.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entries.iter().find(|(known, _)| known == name).map(|(_, node)| node)
    }

    /// The section of this name.
    pub fn section(&self, name: &str) -> Option<&Self> {
        match self.get(name) {
            Some(Node::Section(section)) => Some(section),
            _ => None,
        }
    }

    /// The number of this name, where it is not negative.
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(Node::Number(number)) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The text of this name.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Node::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The texts of a list, or the one text, of this name; `None` where it holds anything else.
    pub fn texts(&self, name: &str) -> Option<Vec<&str>> {
        match self.get(name)? {
            Node::Text(text) => Some(vec![text]),
            Node::List(list) => {
                list.iter().map(|node| if let Node::Text(text) = node { Some(text.as_str()) } else { None }).collect()
            }
            _ => None,
        }
    }
}

struct Parser<'a> {
    text: &'a [u8],
    position: usize,
    nodes: usize,
}

impl Parser<'_> {
    fn expected(&self, expected: &'static str) -> SyntaxError {
        SyntaxError { position: self.position, expected }
    }

    fn advance(&mut self, count: usize) {
        self.position = self.position.saturating_add(count);
    }

    /// The next byte that is neither space nor comment. NUL ends a text.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.get(self.position)? {
                0 => return None,
                byte if byte.is_ascii_whitespace() => self.advance(1),
                b'#' => {
                    let rest = self.text.get(self.position..).unwrap_or_default();
                    self.advance(rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()));
                }
                byte => return Some(*byte),
            }
        }
    }

    fn take(&mut self, byte: u8, expected: &'static str) -> Result<(), SyntaxError> {
        if self.peek() != Some(byte) {
            return Err(self.expected(expected));
        }
        self.advance(1);
        Ok(())
    }

    /// Entries up to a closing brace or the end.
    fn entries(&mut self, depth: usize) -> Result<Section, SyntaxError> {
        let mut section = Section::default();
        let mut names = std::collections::HashSet::new();
        while self.peek().is_some_and(|byte| byte != b'}') {
            let name = self.name()?;
            if !names.insert(name.clone()) {
                return Err(self.expected("each name once"));
            }
            let node = if self.peek() == Some(b'{') {
                self.count(depth)?;
                self.advance(1);
                let inner = self.entries(depth.saturating_add(1))?;
                self.take(b'}', "}")?;
                Node::Section(inner)
            } else {
                self.take(b'=', "= or {")?;
                self.value(depth)?
            };
            section.entries.push((name, node));
        }
        Ok(section)
    }

    /// Counts one more node at `depth`.
    fn count(&mut self, depth: usize) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(1);
        if depth >= DEPTH_LIMIT {
            return Err(self.expected("at most 16 sections in each other"));
        }
        if self.nodes > NODES_LIMIT {
            return Err(self.expected("at most 1048576 values"));
        }
        Ok(())
    }

    fn name(&mut self) -> Result<String, SyntaxError> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            _ => self.word("a name"),
        }
    }

    fn word(&mut self, expected: &'static str) -> Result<String, SyntaxError> {
        let rest = self.text.get(self.position..).unwrap_or_default();
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"#={}[]\",".contains(byte);
        let length = rest.iter().position(|byte| !is_plain(byte)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.expected(expected));
        }
        self.advance(length);
        Ok(String::from_utf8_lossy(rest.get(..length).unwrap_or_default()).into_owned())
    }

    /// Text in quotes, in which a backslash keeps the next character from ending it.
    fn quoted(&mut self) -> Result<String, SyntaxError> {
        self.take(b'"', "\"")?;
        let mut bytes = Vec::new();
        loop {
            let byte = self.text.get(self.position).copied().ok_or_else(|| self.expected("\""))?;
            self.advance(1);
            match byte {
                b'"' => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
                b'\\' => {
                    bytes.push(self.text.get(self.position).copied().ok_or_else(|| self.expected("\""))?);
                    self.advance(1);
                }
                byte => bytes.push(byte),
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        self.count(depth)?;
        match self.peek() {
            Some(b'"') => self.quoted().map(Node::Text),
            Some(b'[') => {
                self.advance(1);
                let mut list = Vec::new();
                while self.peek().is_some_and(|byte| byte != b']') {
                    list.push(self.value(depth.saturating_add(1))?);
                    match self.peek() {
                        Some(b',') => self.advance(1),
                        Some(b']') => {}
                        _ => return Err(self.expected(", or ]")),
                    }
                }
                self.take(b']', "]")?;
                Ok(Node::List(list))
            }
            _ => {
                let word = self.word("a value")?;
                Ok(word.parse().map_or(Node::Text(word), Node::Number))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_values_lists_and_comments_are_read() {
        let text = b"# comment {\nvg { id = \"a\\\"b#\\\\\"\tseqno = 12 # 13\nlist = [\"pv0\", 0,\n \"pv1\", -3]\nempty = []\n\
            ratio = 1.5\nin { deep = 1 } }\n\0garbage {";
        let root = parse(text).unwrap();
        let group = root.section("vg").unwrap();
        assert_eq!(group.text("id"), Some("a\"b#\\"));
        assert_eq!(group.number("seqno"), Some(12));
        let list = [Node::Text("pv0".into()), Node::Number(0), Node::Text("pv1".into()), Node::Number(-3)];
        assert_eq!(group.get("list"), Some(&Node::List(list.to_vec())));
        assert_eq!(group.texts("empty"), Some(Vec::new()));
        assert_eq!(group.text("ratio"), Some("1.5"));
        assert_eq!(group.section("in").unwrap().number("deep"), Some(1));
        assert_eq!((root.section("id"), group.number("list"), group.texts("list")), (None, None, None));
    }

    #[track_caller]
    fn check_refused(text: &str, position: usize, expected: &'static str) {
        assert_eq!(parse(text.as_bytes()), Err(SyntaxError { position, expected }));
    }

    #[test]
    fn what_breaks_the_grammar_is_refused_at_its_place() {
        check_refused("vg {", 4, "}");
        check_refused("}", 0, "a name");
        check_refused("a = ", 4, "a value");
        check_refused("a b", 2, "= or {");
        check_refused("a = [1 2]", 7, ", or ]");
        check_refused("a = [1", 6, ", or ]");
        check_refused("a = \"b", 6, "\"");
        check_refused("a = \"b\\", 7, "\"");
        check_refused("a = 1 a = 2", 7, "each name once");
        check_refused("= 1", 0, "a name");
    }

    #[test]
    fn depth_and_number_of_values_are_limited() {
        let deep = "a {".repeat(1_000_000);
        check_refused(&deep, 16 * 3 + 2, "at most 16 sections in each other");
        let deep = format!("a = {}", "[".repeat(1_000_000));
        check_refused(&deep, 4 + 16, "at most 16 sections in each other");
        let many = format!("a = [{}]", "1,".repeat(1 << 20));
        assert_eq!(parse(many.as_bytes()).unwrap_err().expected, "at most 1048576 values");
    }
}
