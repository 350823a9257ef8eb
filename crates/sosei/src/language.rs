//! English or Japanese.

use clap::ValueEnum;

/// A language of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// English.
    En,
    /// 日本語
    Ja,
}

/// Uses this language for everything that an operator reads from now on.
pub fn use_language(language: Language) {
    rust_i18n::set_locale(match language {
        Language::En => "en",
        Language::Ja => "ja",
    });
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
