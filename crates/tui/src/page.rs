//! A screen to draw on: a bar at the top, a help line at the bottom, lines in between.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};

use crate::data::{Failure, Note, Weight};
use crate::look::{Look, Tone};
use crate::text::{cut, fit, width, wrap};

/// Smaller terminals are told so.
pub const SMALLEST: (u16, u16) = (80, 24);

/// A line: pieces of text, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row(pub Vec<(String, Tone)>);

impl Row {
    /// One piece.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self(vec![(text.into(), tone)])
    }

    /// Another piece behind it.
    pub fn and(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.0.push((text.into(), tone));
        self
    }
}

/// The tone of a line that matters so much.
pub fn tone_of(weight: Weight) -> Tone {
    match weight {
        Weight::Plain => Tone::Plain,
        Weight::Good => Tone::Good,
        Weight::Warning => Tone::Warning,
        Weight::Bad => Tone::Bad,
    }
}

/// The lines of a note: its text with its code behind, and a mark that is there without colours as well.
pub fn note_rows(note: &Note, columns: usize) -> Vec<Row> {
    let mark = match note.weight {
        Weight::Plain | Weight::Good => "  ",
        Weight::Warning | Weight::Bad => "! ",
    };
    let code = if note.code.is_empty() { String::new() } else { format!(" [{}]", note.code) };
    // What a report has aligned stays so.
    let indent = note.text.len().saturating_sub(note.text.trim_start().len());
    let indent = " ".repeat(indent.min(8));
    let room = columns.saturating_sub(2).saturating_sub(indent.len());
    let lines = wrap(&format!("{}{code}", note.text.trim_start()), room).into_iter();
    let lines = lines.enumerate().map(|(number, line)| {
        let mark = if number == 0 { mark } else { "  " };
        Row::new(tone_of(note.weight), format!("{mark}{indent}{line}"))
    });
    lines.collect()
}

/// A part of the terminal that is filled from the top.
pub struct Page<'a> {
    buffer: &'a mut Buffer,
    look: Look,
    area: Rect,
    next: u16,
    cursor: Option<Position>,
}

impl<'a> Page<'a> {
    /// The space between the bars.
    pub fn new(buffer: &'a mut Buffer, look: Look, area: Rect) -> Self {
        Self { buffer, look, area, next: area.y, cursor: None }
    }

    /// How things look.
    pub fn look(&self) -> Look {
        self.look
    }

    /// Columns of a line.
    pub fn columns(&self) -> usize {
        usize::from(self.area.width)
    }

    /// Lines that are left.
    pub fn left(&self) -> usize {
        usize::from(self.area.bottom().saturating_sub(self.next))
    }

    /// Where the cursor is to stand.
    pub fn cursor(&self) -> Option<Position> {
        self.cursor
    }

    /// Draws a line, as far as it fits.
    pub fn row(&mut self, row: &Row) {
        if self.left() == 0 {
            return;
        }
        let mut column = 0;
        for (text, tone) in &row.0 {
            let room = self.columns().saturating_sub(column);
            let text = cut(text, room);
            let x = self.area.x.saturating_add(u16::try_from(column).unwrap_or(u16::MAX));
            if room > 0 {
                self.buffer.set_string(x, self.next, &text, self.look.style(*tone));
            }
            column = column.saturating_add(width(&text));
        }
        self.next = self.next.saturating_add(1);
    }

    /// Draws a text in one tone.
    pub fn line(&mut self, tone: Tone, text: impl Into<String>) {
        self.row(&Row::new(tone, text));
    }

    /// Draws a text on as many lines as it needs.
    pub fn text(&mut self, tone: Tone, text: &str) {
        for line in wrap(text, self.columns()) {
            self.line(tone, line);
        }
    }

    /// Leaves a line empty.
    pub fn gap(&mut self) {
        self.next = self.next.saturating_add(1).min(self.area.bottom());
    }

    /// Draws a rule with a heading in it.
    pub fn rule(&mut self, heading: &str) {
        let rule = self.look.rule();
        let heading = if heading.is_empty() { String::new() } else { format!(" {heading} ") };
        let start: String = std::iter::repeat_n(rule, 2).collect();
        let length = self.columns().saturating_sub(width(&heading)).saturating_sub(2);
        let rest: String = std::iter::repeat_n(rule, length).collect();
        self.row(&Row::new(Tone::Dim, start).and(Tone::Strong, heading).and(Tone::Dim, rest));
    }

    /// What keeps the operator from going on, below a rule with a heading.
    pub fn problem(&mut self, heading: &str, failure: &Failure) {
        self.rule(heading);
        let note = Note { code: failure.code.clone(), text: failure.message.clone(), weight: Weight::Bad };
        note_rows(&note, self.columns()).iter().for_each(|row| self.row(row));
        self.text(Tone::Plain, &failure.next);
    }

    /// A line that can be chosen: the whole line is marked where it is.
    pub fn choice(&mut self, is_chosen: bool, text: &str, tone: Tone) {
        let mark = if is_chosen { ">" } else { " " };
        let tone = if is_chosen { Tone::Chosen } else { tone };
        let columns = self.columns();
        self.line(tone, fit(&format!("{mark} {text}"), columns));
    }

    /// Draws lines from `first` on, and tells where more are hidden. Returns the largest first line that makes sense.
    pub fn scrolled(&mut self, rows: &[Row], first: usize, more: &str) -> usize {
        let room = self.left();
        if rows.len() <= room {
            rows.iter().for_each(|row| self.row(row));
            return 0;
        }
        let shown = room.saturating_sub(1);
        let last = rows.len().saturating_sub(shown);
        let first = first.min(last);
        let end = first.saturating_add(shown).min(rows.len());
        rows.iter().skip(first).take(shown).for_each(|row| self.row(row));
        let length = rows.len();
        let from = first.saturating_add(1);
        self.line(Tone::Strong, format!("-- {from}-{end} / {length}  {more}"));
        last
    }

    /// Puts the cursor into the line that was drawn last.
    pub fn set_cursor(&mut self, column: usize) {
        let x = self.area.x.saturating_add(u16::try_from(column).unwrap_or(u16::MAX));
        let x = x.min(self.area.right().saturating_sub(1));
        self.cursor = Some(Position::new(x, self.next.saturating_sub(1)));
    }
}
