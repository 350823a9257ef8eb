//! Texts in both languages, and fitting them into columns. Wide characters take two.

use serde::{Deserialize, Serialize};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A language of the screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// English.
    English,
    /// 日本語
    Japanese,
}

impl Language {
    /// As locales spell it.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Japanese => "ja",
        }
    }
}

/// The text of a key in a language, with its values.
macro_rules! say {
    ($language:expr, $key:literal $(, $name:ident = $value:expr)* $(,)?) => {
        ::rust_i18n::t!($key, locale = $language.code() $(, $name = $value)*).into_owned()
    };
}
pub(crate) use say;

/// The text of a key that is put together.
pub fn say_key(language: Language, key: &str) -> String {
    rust_i18n::t!(key, locale = language.code()).into_owned()
}

/// Columns that a text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// What fits into `columns`, with a mark where something was cut off, and spaces up to the end.
pub fn fit(text: &str, columns: usize) -> String {
    let mut fitted = cut(text, columns);
    let missing = columns.saturating_sub(width(&fitted));
    fitted.extend(std::iter::repeat_n(' ', missing));
    fitted
}

/// What fits into `columns`, with a mark where something was cut off.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    let mut kept = String::new();
    for character in text.chars() {
        if width(&kept).saturating_add(character.width().unwrap_or_default()) > room {
            break;
        }
        kept.push(character);
    }
    if columns > 0 {
        kept.push('~');
    }
    kept
}

/// Characters that no line begins with.
const NEVER_FIRST: &str = "、。，．,.)）」』】〉》〕］!?！？ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ:;：；・";
/// Characters that no line ends with.
const NEVER_LAST: &str = "(（「『【〈《〔［";

/// Breaks a text into lines of at most `columns`: at spaces, and between characters that are written without.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in words(paragraph) {
            let fits = width(&line).saturating_add(width(word.trim_end())) <= columns;
            if !fits && !line.is_empty() {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
            }
            // A word longer than a line is broken anywhere.
            for character in word.chars() {
                let needed = character.width().unwrap_or_default();
                if width(&line).saturating_add(needed) > columns {
                    if character == ' ' {
                        continue;
                    }
                    lines.push(std::mem::take(&mut line).trim_end().to_owned());
                }
                line.push(character);
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// The pieces of a text that are not broken: words with the space behind them, single wide characters with what must
/// not be parted from them.
fn words(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut before: Option<char> = None;
    for (position, character) in text.char_indices() {
        let is_wide = |c: char| c.width() == Some(2);
        let can_break = before.is_some_and(|before| {
            (before == ' ' || is_wide(before) || is_wide(character))
                && character != ' '
                && !NEVER_FIRST.contains(character)
                && !NEVER_LAST.contains(before)
        });
        if can_break {
            found.extend(text.get(start..position));
            start = position;
        }
        before = Some(character);
    }
    found.extend(text.get(start..));
    found
}

/// A number of bytes for people: `512 B`, `1.5 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut tenths = u128::from(count).saturating_mul(10);
    let mut unit = "B";
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths = tenths.saturating_add(512) / 1024;
        unit = next;
    }
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {unit}"),
        (whole, tenth) => format!("{whole}.{tenth} {unit}"),
    }
}

/// A time for people.
pub fn duration(language: Language, seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds % 3600 / 60, seconds % 60);
    match seconds {
        0..60 => say!(language, "time.seconds", seconds = rest),
        60..3600 => say!(language, "time.minutes", minutes = minutes, seconds = rest),
        _ => say!(language, "time.hours", hours = hours, minutes = minutes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_round_to_the_nearest() {
        let cases = [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (10 << 40, "10 TiB")];
        for (count, text) in cases {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bytes(u64::MAX), "16 EiB");
    }

    #[test]
    fn texts_are_cut_and_padded_by_columns() {
        assert_eq!(fit("日本語", 8), "日本語  ");
        assert_eq!(fit("日本語", 5), "日本~");
        assert_eq!(fit("日本語", 4), "日~ ");
        assert_eq!(fit("abc", 0), "");
    }

    #[test]
    fn lines_break_at_spaces_and_between_wide_characters() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("保存先に空きがありません。", 10), ["保存先に空", "きがありま", "せん。"]);
        assert_eq!(wrap("空きがない。", 10), ["空きがな", "い。"], "no line begins with a full stop");
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("a\n\nb", 9), ["a", "", "b"]);
        for columns in 0..40 {
            for line in wrap("イメージ node-a を保存しました: 38.6 MiB (圧縮後 1.2 MiB)", columns) {
                assert!(width(&line) <= columns.max(2), "{columns}: {line}");
            }
        }
    }
}
