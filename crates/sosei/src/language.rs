//! English or Japanese.

use std::cell::Cell;

use clap::ValueEnum;

thread_local! {
    /// The language of what this thread writes, where it is not that of the operator.
    static OTHER: Cell<Option<Language>> = const { Cell::new(None) };
}

/// The text of a key with its values, in the language of the operator, or of what is written [`within`] another.
macro_rules! t {
    ($($all:tt)*) => { ::rust_i18n::t!($($all)*, locale = $crate::language::present().code()) };
}
pub(crate) use t;

/// A language of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// English.
    En,
    /// 日本語
    Ja,
}

impl Language {
    /// Both.
    pub const ALL: [Self; 2] = [Self::En, Self::Ja];

    /// As locales and names of files spell it.
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ja => "ja",
        }
    }
}

/// The language of texts that are made now.
pub fn present() -> Language {
    let of_operator = || if *rust_i18n::locale() == *"ja" { Language::Ja } else { Language::En };
    OTHER.get().unwrap_or_else(of_operator)
}

/// Writes something in another language than the operator's. Other threads go on as they did.
pub fn within<T>(language: Language, write: impl FnOnce() -> T) -> T {
    let before = OTHER.replace(Some(language));
    let written = write();
    OTHER.set(before);
    written
}

/// Uses this language for everything that an operator reads from now on.
pub fn use_language(language: Language) {
    rust_i18n::set_locale(language.code());
}

/// Uses the language of the locale: Japanese where it begins with `ja`, else English. The text console of Linux can't
/// draw kanji: there it is English, unless Japanese is asked for.
pub fn use_language_of_the_system() {
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_default();
    let can_draw_kanji = std::env::var("TERM").map_or(true, |terminal| terminal != "linux");
    use_language(if locale.starts_with("ja") && can_draw_kanji { Language::Ja } else { Language::En });
}
