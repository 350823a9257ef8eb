//! What an operator has to do around a restore: detectors and items, both data, and the list that is made of them.

pub mod detectors;

use std::fmt::Write;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

pub use detectors::Detected;

use crate::Scope;
use crate::offline::{Found, SystemKind};

/// The languages of the items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// English.
    En,
    /// Japanese.
    Ja,
}

/// How bad it is to leave something out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Importance {
    /// Data is lost.
    Danger,
    /// Something does not work.
    Must,
    /// Something may not work.
    Should,
    /// Good to know.
    Info,
}

/// How sure the words are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// Tried out.
    Measured,
    /// By the vendor's documents, or in a procedure in use.
    Documented,
    /// By experience; to be compared with the manual.
    Unchecked,
}

/// A text in both languages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Text {
    en: String,
    ja: String,
}

#[derive(Deserialize)]
struct Placeholders {
    restored: Text,
    survivor: Text,
    resource: Text,
    device: Text,
    time: Text,
}

#[derive(Deserialize)]
struct Document {
    placeholders: Placeholders,
    item: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    id: String,
    when: String,
    scope: String,
    phase: u8,
    level: Importance,
    action: String,
    certainty: Certainty,
    en: String,
    ja: String,
}

// A test reads the data: a program whose data can't be read is never released.
static DOCUMENT: LazyLock<Option<Document>> = LazyLock::new(|| toml::from_str(include_str!("items.toml")).ok());

/// The phases of a recovery, in both languages.
const PHASES: &[(&str, &str)] = &[
    ("Before the restore", "復元の前"),
    ("Before the first start", "最初の起動の前"),
    ("First start", "最初の起動"),
    ("Back into the cluster", "クラスタへの復帰"),
    ("Data", "データ"),
    ("Check", "確認"),
    ("Afterwards", "その後"),
];

/// What a checklist is made for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The detectors that have evidence.
    pub detected: Vec<Detected>,
    /// The node that is restored.
    pub restored: Option<String>,
    /// The other nodes.
    pub others: Vec<String>,
    /// Mirror resources.
    pub resources: Vec<String>,
    /// Devices of sbd.
    pub devices: Vec<String>,
    /// How long a full resynchronisation takes: bytes of all mirrors, and bytes a second.
    pub resync: Option<Resync>,
}

/// An estimate of a full resynchronisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resync {
    /// Bytes of all mirrors.
    pub bytes: u64,
    /// Bytes a second that disks and link sustain.
    pub bytes_per_second: u64,
}

impl Resync {
    /// What a link of 1 Gbit/s carries, less its overhead.
    pub const GIGABIT: u64 = 110_000_000;

    /// Seconds, rounded up.
    pub fn seconds(&self) -> u64 {
        self.bytes.div_ceil(self.bytes_per_second.max(1))
    }

    fn text(&self, language: Language) -> String {
        let minutes = self.seconds().div_ceil(60);
        let (hours, rest) = (minutes / 60, minutes % 60);
        match (language, hours) {
            (Language::En, 0) => format!("{minutes} min"),
            (Language::En, _) => format!("{hours} h {rest} min"),
            (Language::Ja, 0) => format!("{minutes}分"),
            (Language::Ja, _) => format!("{hours}時間{rest}分"),
        }
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which item, as `p3-cp-force`.
    pub id: String,
    /// Its number in the list, as `3-1`.
    pub number: String,
    /// 0 before the restore to 6 afterwards.
    pub phase: u8,
    /// For which scope: `one-node`, `all-nodes`, `any`.
    pub scope: String,
    /// How bad it is to leave it out.
    pub level: Importance,
    /// What the program does of it; empty where only a person can.
    pub action: String,
    /// How sure the words are.
    pub certainty: Certainty,
    /// The words.
    pub text: String,
}

impl Subject {
    /// What systems and detectors say; `resync` is for those who know sizes.
    pub fn new(found: &Found, resync: Option<Resync>) -> Self {
        let of_systems = || found.systems.iter().filter(|system| system.kind != SystemKind::Boot);
        let restored = of_systems().find_map(|system| system.host.clone());
        let clusters = || of_systems().flat_map(|system| &system.clusters);
        let mut subject = Self { detected: found.detected.clone(), restored, resync, ..Self::default() };
        let own = subject.restored.clone().unwrap_or_default().to_lowercase();
        // A cluster may know a node by its short name.
        let is_own = |server: &str| {
            let short = |name: &str| name.split('.').next().unwrap_or_default().to_lowercase();
            !own.is_empty() && short(server) == short(&own)
        };
        for server in clusters().flat_map(|cluster| &cluster.servers).filter(|server| !is_own(server)) {
            add(&mut subject.others, server);
        }
        for cluster in clusters() {
            cluster.names_of(&["md", "hd", "drbd"]).for_each(|name| add(&mut subject.resources, name));
        }
        for reference in of_systems().flat_map(|system| &system.references) {
            if reference.file.ends_with("/sbd") && reference.text.contains("SBD_DEVICE") {
                add(&mut subject.devices, &reference.value);
            }
        }
        subject
    }

    /// Everything there is to do. Without a scope, what is right for each is told.
    pub fn steps(&self, scope: Option<Scope>, language: Language) -> Vec<Step> {
        let Some(document) = &*DOCUMENT else { return Vec::new() };
        let wanted = match scope {
            None => None,
            Some(Scope::OneNode) => Some("one-node"),
            Some(Scope::AllNodes) => Some("all-nodes"),
        };
        let has = |when: &str| when == "any" || self.detected.iter().any(|detected| detected.id == when);
        let mut items: Vec<&Item> = document
            .item
            .iter()
            .filter(|item| has(&item.when))
            .filter(|item| item.scope == "any" || wanted.is_none_or(|wanted| item.scope == wanted))
            .collect();
        items.sort_by_key(|item| item.phase);
        let (mut phase, mut number) = (u8::MAX, 0_u32);
        let steps = items.into_iter().map(|item| {
            number = if item.phase == phase { number.saturating_add(1) } else { 1 };
            phase = item.phase;
            Step {
                id: item.id.clone(),
                number: format!("{phase}-{number}"),
                phase,
                scope: item.scope.clone(),
                level: item.level,
                action: item.action.clone(),
                certainty: item.certainty,
                text: self.fill(item, &document.placeholders, language),
            }
        });
        steps.collect()
    }

    fn fill(&self, item: &Item, words: &Placeholders, language: Language) -> String {
        let of = |text: &Text| match language {
            Language::En => format!("<{}>", text.en),
            Language::Ja => format!("<{}>", text.ja),
        };
        let one = |names: &[String], words: &Text| match names {
            [] => of(words),
            // A command takes one name; several are for the reader to choose from.
            names => names.join("|"),
        };
        let text = match language {
            Language::En => &item.en,
            Language::Ja => &item.ja,
        };
        let time = self.resync.map_or_else(|| of(&words.time), |resync| resync.text(language));
        text.replace("{restored}", self.restored.as_deref().unwrap_or(&of(&words.restored)))
            .replace("{survivor}", &one(&self.others, &words.survivor))
            .replace("{resource}", &one(&self.resources, &words.resource))
            .replace("{device}", &one(&self.devices, &words.device))
            .replace("{time}", &time)
    }

    /// The list as a text file.
    pub fn text(&self, title: &str, scope: Option<Scope>, language: Language) -> String {
        render(title, &self.steps(scope, language), scope, language)
    }
}

fn add(names: &mut Vec<String>, name: &str) {
    if !name.is_empty() && !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

/// Steps as lines of text, by their phases.
pub fn render(title: &str, steps: &[Step], scope: Option<Scope>, language: Language) -> String {
    let pick = |en: &'static str, ja: &'static str| match language {
        Language::En => en,
        Language::Ja => ja,
    };
    let mut text = format!("{title}\n\n");
    let mut line = |line: &str| {
        let _ = writeln!(text, "{line}");
    };
    line(pick(
        "Do these steps in their order. Data is lost where a step marked !! is left out.",
        "この順番で実施してください。!! 印の手順を省くとデータを失います。",
    ));
    line(pick(
        "* must be done, - should be done, i for information, (?) compare with the manual of your version.",
        "* 必ず実施  - 実施を推奨  i 参考  (?) お使いの版のマニュアルと照合してください。",
    ));
    if scope.is_none() {
        line(pick(
            "[one-node] only where another node runs, or is kept, with newer data; [all-nodes] only where all nodes come back from one set.",
            "[one-node] は、より新しいデータを持つ別のノードが稼働中または保管中の場合のみ。[all-nodes] は、全ノードを1つのセットから復元する場合のみ。",
        ));
    }
    let mut phase = None;
    for step in steps {
        if phase != Some(step.phase) {
            phase = Some(step.phase);
            let name = PHASES.get(usize::from(step.phase)).copied().unwrap_or_default();
            line(&format!("\n{} {}", step.phase, pick(name.0, name.1)));
        }
        let mark = match step.level {
            Importance::Danger => "!!",
            Importance::Must => " *",
            Importance::Should => " -",
            Importance::Info => " i",
        };
        let only = if scope.is_none() && step.scope != "any" { format!(" [{}]", step.scope) } else { String::new() };
        let unchecked = if step.certainty == Certainty::Unchecked { " (?)" } else { "" };
        line(&format!("{mark} {}{only}{unchecked} {}", step.number, step.text));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        toml::from_str(include_str!("items.toml")).unwrap()
    }

    fn subject(ids: &[&str]) -> Subject {
        let detected = ids.iter().map(|id| Detected { id: (*id).to_owned(), evidence: vec!["seen".into()] });
        Subject { detected: detected.collect(), ..Subject::default() }
    }

    #[test]
    fn the_data_is_whole() {
        let items = document().item;
        assert_eq!(items.len(), 60);
        let detectors: Vec<&str> = detectors::all().iter().map(|detector| detector.id.as_str()).collect();
        for (number, item) in items.iter().enumerate() {
            assert!(!items[..number].iter().any(|other| other.id == item.id), "{} twice", item.id);
            assert!(item.when == "any" || detectors.contains(&item.when.as_str()), "{}", item.id);
            assert!(["any", "one-node", "all-nodes"].contains(&item.scope.as_str()), "{}", item.id);
            assert!(usize::from(item.phase) < PHASES.len(), "{}", item.id);
            assert!(!item.en.is_empty() && !item.ja.is_empty(), "{}", item.id);
            let places = |text: &str| -> Vec<String> {
                let mut found: Vec<String> =
                    text.split('{').skip(1).map(|rest| rest.split('}').next().unwrap().to_owned()).collect();
                found.sort();
                found.dedup();
                found
            };
            let both = (places(&item.en), places(&item.ja));
            // A sentence may name a node more often in one language than in the other.
            assert_eq!(both.0, both.1, "{}", item.id);
            for place in both.0 {
                let known = ["restored", "survivor", "resource", "device", "time"];
                assert!(known.contains(&place.as_str()), "{}: {place}", item.id);
            }
        }
    }

    #[test]
    fn every_item_is_reached_and_no_placeholder_stays() {
        let all: Vec<&str> = detectors::all().iter().map(|detector| detector.id.as_str()).collect();
        for language in [Language::En, Language::Ja] {
            let steps = subject(&all).steps(None, language);
            assert_eq!(steps.len(), 60);
            let one = subject(&all).steps(Some(Scope::OneNode), language);
            let both = subject(&all).steps(Some(Scope::AllNodes), language);
            let of_any = steps.iter().filter(|step| step.scope == "any").count();
            assert_eq!(one.len() + both.len(), 60 + of_any);
            for step in steps {
                assert!(!step.text.contains(['{', '}']), "{}", step.text);
            }
        }
    }

    #[test]
    fn a_list_for_a_node_of_a_mirror() {
        let mut subject = subject(&["drbd", "linux"]);
        subject.restored = Some("n1".into());
        subject.others = vec!["n2".into()];
        subject.resources = vec!["r0".into()];
        subject.resync = Some(Resync { bytes: 100 << 30, bytes_per_second: Resync::GIGABIT });
        let text = subject.text("node-a", Some(Scope::OneNode), Language::En);
        assert!(text.contains("\n!! 3-1 On n1: drbdadm up r0. It must become SyncTarget"), "{text}");
        assert!(text.contains("(estimate: 17 min)"), "{text}");
        assert!(!text.contains("Invalidate no node"), "{text}");
        let text = subject.text("node-a", Some(Scope::AllNodes), Language::Ja);
        assert!(text.contains("どのノードでも invalidate"), "{text}");
        assert!(!text.contains("SyncTarget"), "{text}");
        let text = subject.text("node-a", None, Language::En);
        assert!(text.contains(" * 1-3 [all-nodes] Invalidate no node"), "{text}");
    }

    #[test]
    fn times_of_the_rates_of_a_disk() {
        // Rates of mirrors of CLUSTERPRO Ver 7, minutes for a gigabyte: single disk 6.5, RAID 5 11 or 4.
        for (tenths_of_minutes, minutes) in [(65, 650), (110, 1100), (40, 400)] {
            let bytes_per_second = 10 * (1_u64 << 30) / (tenths_of_minutes * 60);
            let resync = Resync { bytes: 100 << 30, bytes_per_second };
            assert_eq!((resync.seconds() + 30) / 60, minutes);
        }
    }
}
