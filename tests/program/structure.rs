//! The shape of the program: who may use whom, where unsafe code may be, what every text needs.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::run;

/// Longer files are several things.
const LINES_LIMIT: usize = 900;

/// Which crates of the program each crate may use: arrows point down only.
const MAY_USE: &[(&str, &[&str])] = &[
    ("block", &[]),
    ("layout", &["block"]),
    ("filesystem", &["block"]),
    ("cluster", &["block", "layout", "filesystem"]),
    ("image", &["block", "layout"]),
    ("device", &["block"]),
    ("repository", &["image"]),
    ("session", &["block", "layout", "filesystem", "cluster", "image"]),
    ("tui", &["block", "layout", "filesystem", "cluster", "image", "session"]),
    ("sosei", &["block", "layout", "filesystem", "cluster", "image", "device", "repository", "session", "tui"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn packages() -> Vec<Value> {
    let manifest = root().join("Cargo.toml");
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"];
    let printed = run(env!("CARGO"), arguments.into_iter().chain([manifest.to_str().unwrap()]));
    let metadata: Value = serde_json::from_str(&printed).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn crates() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("crates")).unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
}

#[test]
fn crates_use_only_those_below_them() {
    let packages = packages();
    let names: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    assert!(names.len() > 8, "{names:?}");
    for package in packages.iter().filter(|package| package["name"] != "tests") {
        let name = package["name"].as_str().unwrap();
        let (_, allowed) = MAY_USE.iter().find(|(row, _)| *row == name).unwrap_or_else(|| panic!("{name} has no row"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            assert!(!names.contains(used) || allowed.contains(&used), "{name} must not use {used}");
        }
    }
}

#[test]
fn only_the_crate_of_real_disks_may_hold_unsafe_code() {
    for directory in crates() {
        let roots = ["src/lib.rs", "src/main.rs"].map(|file| directory.join(file));
        let roots: Vec<_> = roots.into_iter().filter(|file| file.is_file()).collect();
        assert!(!roots.is_empty(), "{}", directory.display());
        for file in roots {
            let forbids = std::fs::read_to_string(&file).unwrap().contains("\n#![forbid(unsafe_code)]\n");
            assert_eq!(forbids, !directory.ends_with("device"), "{}", file.display());
        }
    }
}

/// What starts programs passes on what is in the environment; one place takes the secrets out of it.
#[test]
fn helpers_are_started_in_one_place() {
    // The last is what the operator works with, on a console of the program.
    let may = ["sosei/src/helper.rs", "sosei/src/framebuffer.rs"].map(|path| root().join("crates").join(path));
    for path in crates().iter().flat_map(|path| sources(&path.join("src"))).filter(|path| !may.contains(path)) {
        let text = std::fs::read_to_string(&path).unwrap();
        let program = text.split("#[cfg(test)]").next().unwrap();
        assert!(!program.contains("Command::new("), "{}: helper::helper starts programs", path.display());
    }
    assert!(may.iter().all(|path| std::fs::read_to_string(path).unwrap().contains("Command::new(")));
}

#[test]
fn files_are_short() {
    for file in sources(&root().join("crates")) {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= LINES_LIMIT, "{}: {lines} lines", file.display());
    }
}

/// The crates that have texts.
const WITH_TEXTS: [&str; 2] = ["sosei", "tui"];

/// The texts of a crate in a language by their key.
fn texts(of: &str, language: &str) -> BTreeMap<String, String> {
    let file = std::fs::read_to_string(root().join(format!("crates/{of}/locales/{language}.yml"))).unwrap();
    let (mut group, mut texts) = (String::new(), BTreeMap::new());
    for line in file.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let (key, value) = line.split_once(':').unwrap_or_else(|| panic!("{language}: {line}"));
        if !line.starts_with(' ') {
            group = key.to_owned();
        } else {
            let text = value.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            let text = text.unwrap_or_else(|| panic!("{language}: {line}"));
            assert!(!text.is_empty(), "{language}: {line}");
            let twice = texts.insert(format!("{group}.{}", key.trim()), text.to_owned());
            assert_eq!(twice, None, "{language}: {line}");
        }
    }
    texts
}

fn placeholders(text: &str) -> BTreeSet<&str> {
    text.split("%{").skip(1).map(|rest| rest.split_once('}').unwrap_or_else(|| panic!("{text}")).0).collect()
}

#[test]
fn every_text_is_there_in_both_languages_with_the_same_values() {
    for of in WITH_TEXTS {
        let (english, japanese) = (texts(of, "en"), texts(of, "ja"));
        let keys = |texts: &BTreeMap<String, String>| texts.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&english), keys(&japanese));
        assert!(english.len() > 100);
        for (key, text) in &english {
            assert_eq!(placeholders(text), placeholders(&japanese[key]), "{key}");
        }
    }
}

/// The variants of an enumeration as serde spells them.
fn codes(file: &str, enumeration: &str) -> Vec<String> {
    let source = std::fs::read_to_string(root().join(file)).unwrap();
    let head = format!("#[serde(rename_all = \"kebab-case\")]\npub enum {enumeration} {{\n");
    let body = source.split_once(&head).unwrap_or_else(|| panic!("{file} has no {enumeration}")).1;
    let body = body.split_once("\n}").unwrap().0;
    let variants = body.lines().map(str::trim).filter_map(|line| line.strip_suffix(','));
    let kebab = |name: &str| {
        let spelled = name.chars().flat_map(|c| [c.is_uppercase().then_some('-'), Some(c.to_ascii_lowercase())]);
        spelled.flatten().collect::<String>().trim_start_matches('-').to_owned()
    };
    variants.filter(|line| line.chars().all(char::is_alphanumeric)).map(kebab).collect()
}

#[test]
fn every_code_has_a_text_in_both_languages() {
    let tables = [
        ("reason", codes("crates/filesystem/src/lib.rs", "ReasonCode")),
        ("note", codes("crates/filesystem/src/lib.rs", "NoteCode")),
        ("finding", codes("crates/layout/src/region.rs", "FindingCode")),
    ];
    for language in ["en", "ja"] {
        let texts = texts("sosei", language);
        for (group, codes) in &tables {
            assert!(codes.len() > 3, "{group}: {codes:?}");
            for code in codes {
                assert!(texts.contains_key(&format!("{group}.{code}")), "{language} has no text for {group}.{code}");
            }
        }
    }
}

#[test]
fn every_text_that_the_program_asks_for_is_there() {
    for (of, call) in [("sosei", "t!("), ("tui", "say!("), ("tui", "say_key(")] {
        let texts = texts(of, "en");
        let mut asked = 0;
        for file in sources(&root().join(format!("crates/{of}/src"))) {
            let source = std::fs::read_to_string(&file).unwrap();
            for rest in source.split(call).skip(1) {
                // The language comes before the key.
                let rest = if of == "tui" { rest.split_once(',').map_or("", |(_, rest)| rest) } else { rest };
                let Some(key) = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
                    continue;
                };
                // Other macros end in `t!` too.
                if key.contains('.') && !key.contains([' ', '{']) {
                    asked += 1;
                    assert!(texts.contains_key(key), "{}: {key}", file.display());
                }
            }
        }
        assert!(asked > 0 || call == "say_key(", "{of}: nothing asks by {call}");
    }
}

fn documents() -> Vec<PathBuf> {
    let in_docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let documents = in_docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.chain([root().join("README.md")]).collect()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A name of four words and more can only be that of a test.
#[test]
fn tests_that_documents_name_are_there() {
    let code = [root().join("crates"), root().join("tests")].iter().flat_map(|path| sources(path)).collect::<Vec<_>>();
    let code = code.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect::<String>();
    let is_name = |word: &&str| word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    let mut seen = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for name in quoted(&text).filter(is_name).filter(|word| word.matches('_').count() > 3) {
            seen += 1;
            assert!(code.contains(&format!("fn {name}(")), "{}: {name}", document.display());
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn files_and_places_that_documents_link_to_are_there() {
    let mut seen = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
        for link in links.filter(|link| !link.contains("://")) {
            seen += 1;
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let linked = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(linked.exists(), "{}: {link}", document.display());
            if !place.is_empty() {
                let headings = std::fs::read_to_string(&linked).unwrap();
                let headings = headings.lines().filter(|line| line.starts_with('#')).map(anchor).collect::<Vec<_>>();
                assert!(headings.iter().any(|heading| heading == place), "{}: {link}", document.display());
            }
        }
    }
    assert!(seen > 50, "{seen}");
}

/// How a heading is called in links.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}
