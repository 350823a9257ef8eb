//! Every screen, as an operator sees it: in both languages, at two sizes, with plain characters too.
//!
//! The pictures in `tests/snapshots` are read as prose. `SOSEI_WRITE_SNAPSHOTS=1 cargo test -p tui` draws them anew.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

#[path = "scenes/states.rs"]
mod states;

use std::fmt::Write;
use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use session::Phase;
use tui::{
    Action, Disk, Drawing, Event, Failure, Gate, Image, ImageState, Key, Language, Link, Look, Network, Note, Outcome,
    Plan, PlannedDisk, Region, RegionKind, Repository, Restore, Settings, State, Volume, Weight,
};
use unicode_width::UnicodeWidthStr;

const GIB: u64 = 1 << 30;

struct Scene {
    name: &'static str,
    state: State,
}

fn settings() -> Settings {
    Settings {
        version: "0.1.0".into(),
        host: "node-a".into(),
        image: "node-a-20261123".into(),
        can_draw_kanji: true,
        is_appliance: true,
        keyboards: Vec::new(),
        has_network: false,
        targets: Vec::new(),
        has_secret_target: false,
    }
}

fn start(language: Language, drawing: Drawing) -> State {
    State::new(language, Look { has_colours: false, drawing }, settings())
}

/// On the live medium, where keyboard and network are the program's to set up.
fn start_on_medium(language: Language, drawing: Drawing) -> State {
    let settings = Settings {
        keyboards: ["jp106", "us", "uk", "de", "fr-latin9", "br-abnt2"].map(str::to_owned).into(),
        has_network: true,
        ..settings()
    };
    State::new(language, Look { has_colours: false, drawing }, settings)
}

fn press(state: &mut State, keys: &[Key]) -> Option<Action> {
    keys.iter().map(|key| state.on(Event::Key(*key))).last().flatten()
}

fn write(state: &mut State, text: &str) {
    text.chars().for_each(|character| {
        state.on(Event::Key(Key::Character(character)));
    });
}

fn region(name: &str, kind: RegionKind, length: u64, what: &str, holds: &str, saved: &str, used: u64) -> Region {
    let [name, what, holds, saved] = [name, what, holds, saved].map(str::to_owned);
    Region { name, kind, start: 1 << 20, length, what, holds, saved, used_bytes: used }
}

fn disks(is_japanese: bool) -> Vec<Disk> {
    let say = |english: &str, japanese: &str| if is_japanese { japanese } else { english }.to_owned();
    let used = |size: &str| say(&format!("used {size}"), &format!("使用領域 {size}"));
    let whole = say("whole 1007 KiB: outside every partition", "全領域 1007 KiB: パーティションの外の領域です");
    let sda = Disk {
        path: "/dev/sda".into(),
        name: "sda".into(),
        size: 480 * GIB,
        model: Some("HPE MK000480GWTTK".into()),
        serial: Some("S4KVNA0M900001".into()),
        wwn: Some("naa.5002538c40a00001".into()),
        transport: Some("sata".into()),
        table: "GPT".into(),
        signature: Some("6a6e0d5c-7b21-4c6b-8e3d-50534f534549".into()),
        sector_size: 512,
        regions: vec![
            region("gap1", RegionKind::Gap, 1_031_168, &say("(gap)", "(未割り当て)"), "", &whole, 1_031_168),
            region("p1", RegionKind::Partition, 600 << 20, "EFI", "vfat \"ESP\"", &used("5.8 MiB"), 6 << 20),
            region("p2", RegionKind::Partition, GIB, "Linux", "xfs \"boot\"", &used("280 MiB"), 280 << 20),
            region("p3", RegionKind::Partition, 400 * GIB, "Linux LVM", "", &used("61.5 GiB"), 61 * GIB),
        ],
        notes: vec![Note {
            code: "not-clean".into(),
            text: say(
                "p2: not cleanly unmounted: log has records",
                "p2: 正常にアンマウントされていません: ログにレコードがあります",
            ),
            weight: Weight::Warning,
        }],
        problem: None,
    };
    let sdb = Disk {
        path: "/dev/sdb".into(),
        name: "sdb".into(),
        size: 2048 * GIB,
        model: Some("NEC iStorage M320".into()),
        serial: Some("0000000931500021".into()),
        wwn: Some("naa.600a0b800026cc8e".into()),
        transport: Some("fc".into()),
        table: "MBR".into(),
        signature: Some("1b2c3d4e".into()),
        sector_size: 512,
        regions: vec![region(
            "p1",
            RegionKind::Partition,
            2000 * GIB,
            "NTFS",
            "ntfs \"共有\"",
            &used("900 GiB"),
            900 * GIB,
        )],
        notes: vec![Note {
            code: "shared-disk".into(),
            text: say("it is connected by fc", "fc で接続されています"),
            weight: Weight::Bad,
        }],
        problem: None,
    };
    let cd = Disk {
        path: "/dev/sdc".into(),
        name: "sdc".into(),
        size: 8 * GIB,
        transport: Some("usb".into()),
        problem: Some(say("/dev/sdc can't be used: no medium", "/dev/sdc を使えません: メディアがありません")),
        ..Disk::default()
    };
    vec![sda, sdb, cd]
}

fn repository(is_japanese: bool) -> Repository {
    let sda = disks(is_japanese).remove(0);
    let note = if is_japanese { "更新前" } else { "before the update" };
    let image = Image {
        time: "2026-11-22T13:04:12Z".into(),
        host: "node-a".into(),
        note: note.into(),
        set: "cluster1".into(),
        bytes: 62 * GIB,
        disks: vec![sda],
        ..Image::new("node-a-20261122".into(), ImageState::Whole)
    };
    let damage = ImageState::Damaged("images/old/manifest.json: at byte 17: expected a check, found another".into());
    let images =
        vec![image, Image::new("node-b-20261122".into(), ImageState::Unfinished), Image::new("old".into(), damage)];
    Repository { location: "nfs://nas1/export/images".into(), exists: true, images }
}

/// From the first screen to an open target.
fn opened(mut state: State, task: usize, is_japanese: bool) -> State {
    press(&mut state, &[Key::Enter]);
    press(&mut state, &vec![Key::Down; task]);
    press(&mut state, &[Key::Enter, Key::Enter]);
    write(&mut state, "nas1");
    press(&mut state, &[Key::Enter]);
    write(&mut state, "/export/images");
    let action = press(&mut state, &[Key::Down, Key::Down, Key::Enter]);
    assert!(matches!(&action, Some(Action::Open(place)) if place.target == "nfs://nas1/export/images"), "{action:?}");
    state.on(Event::Opened(repository(is_japanese)));
    state
}

/// To the disks of a save.
fn listed(state: State, task: usize, is_japanese: bool) -> State {
    let mut state = opened(state, task, is_japanese);
    assert_eq!(press(&mut state, &[Key::Down, Key::Down, Key::Down, Key::Enter]), Some(Action::ListDisks));
    state.on(Event::Disks(disks(is_japanese)));
    state
}

fn save_plan(is_japanese: bool) -> Plan {
    let mut source = disks(is_japanese).remove(0);
    let notes = std::mem::take(&mut source.notes);
    let disks = vec![PlannedDisk { source, destination: None, notes }];
    Plan { image: "node-a-20261123".into(), bytes: 62 * GIB, disks, ..Plan::default() }
}

fn restore_plan(is_japanese: bool, asks_scope: bool) -> Plan {
    let mut all = disks(is_japanese);
    let (source, mut destination) = (all.remove(0), disks(is_japanese).remove(0));
    destination.serial = Some("S4KVNA0M900777".into());
    destination.regions.truncate(2);
    let text = if is_japanese {
        "sda:p3: DRBD 8.4 ミラー (400 GiB) の片側、世代 0123456789abcdef"
    } else {
        "sda:p3: half of a DRBD 8.4 mirror of 400 GiB, generation 0123456789abcdef"
    };
    let notes = vec![Note { code: "mirror".into(), text: text.into(), weight: Weight::Warning }];
    let notes = if asks_scope { notes } else { Vec::new() };
    let disks = vec![PlannedDisk { source, destination: Some(destination), notes: Vec::new() }];
    Plan { image: "node-a-20261122".into(), bytes: 62 * GIB, disks, notes, asks_scope }
}

fn running(state: &mut State, is_japanese: bool) {
    state.on(Event::Tick(0));
    state.on(Event::Session(session::Event::Began { phase: Phase::Save, total: 62 * GIB }));
    state.on(Event::Session(session::Event::Region { disk: "sda".into(), region: "p3".into(), bytes: 61 * GIB }));
    state.on(Event::Session(session::Event::Resumed { stored: 3 * GIB }));
    for second in 1..=40 {
        let done = 110_000_000 * second + (second % 7) * 20_000_000;
        state.on(Event::Session(session::Event::Progress { done }));
        let (disk, processor, target) = (second * 310, second * 420, second * 970);
        state.on(Event::Session(session::Event::Busy { disk, processor, target }));
        state.on(Event::Tick(second * 1000));
    }
    let text = if is_japanese {
        "保存先から応答がありません (connection reset)。最長 5 min 再試行します。"
    } else {
        "The target does not answer (connection reset). Trying again for up to 5 min."
    };
    state.on(Event::Contact { text: text.into(), is_lost: true });
}

fn failure(code: &str, is_japanese: bool) -> Failure {
    let say = |english: &str, japanese: &str| if is_japanese { japanese } else { english }.to_owned();
    Failure {
        code: code.into(),
        message: say(
            "/dev/sdb may be used by another machine: it is connected by fc.",
            "/dev/sdb は別のマシンも使っている可能性があります: fc で接続されています。",
        ),
        state: say("Nothing was changed.", "何も変更していません。"),
        next: say(
            "If you are sure, do what the message names.",
            "間違いがなければ、メッセージに示した操作を行ってください。",
        ),
        confirm: (code == "shared-disk").then(|| "naa.600a0b800026cc8e".into()),
    }
}

fn scenes(language: Language, drawing: Drawing) -> Vec<Scene> {
    let ja = language == Language::Japanese;
    let start = || start(language, drawing);
    let mut scenes = Vec::new();
    let mut add = |name, state| scenes.push(Scene { name, state });
    add("01-language", start());
    let mut state = start();
    press(&mut state, &[Key::Enter]);
    add("02-task", state);
    let mut state = start();
    press(&mut state, &[Key::Enter, Key::Character('?')]);
    add("03-help", state);
    let mut state = start();
    press(&mut state, &[Key::Enter, Key::Enter]);
    add("04-target-kind", state);
    let targets = ["smb://operator@nas1/images?encryption=required".to_owned()].into();
    let offered = Settings { targets, has_secret_target: true, ..settings() };
    let mut state = State::new(language, Look { has_colours: false, drawing }, offered);
    press(&mut state, &[Key::Enter, Key::Enter]);
    add("04-targets-that-are-offered", state);
    let mut state = start();
    press(&mut state, &[Key::Enter, Key::Enter, Key::Down, Key::Enter]);
    write(&mut state, "nas1");
    press(&mut state, &[Key::Down]);
    write(&mut state, "images");
    press(&mut state, &[Key::Down]);
    write(&mut state, "operator");
    press(&mut state, &[Key::Down, Key::Down]);
    write(&mut state, "secret");
    press(&mut state, &[Key::Down, Key::Down, Key::Enter]);
    state.on(Event::Tick(0));
    state.on(Event::Tick(3000));
    add("05-connecting", state);
    let mut state = opened_smb(start());
    state.on(Event::Failed(Failure { code: "target-login".into(), ..failure("", ja) }));
    add("06-wrong-password", state);
    add("07-image-name", opened(start(), 0, ja));
    let mut state = opened(start(), 0, ja);
    press(&mut state, &[Key::Backspace]);
    write(&mut state, "2");
    add("08-image-name-taken", state);
    let mut state = listed(start(), 0, ja);
    press(&mut state, &[Key::Character(' ')]);
    add("09-disks", state);
    let mut state = listed(start(), 0, ja);
    press(&mut state, &[Key::Down, Key::Character('i')]);
    add("10-disk-detail", state);
    let mut state = listed(start(), 1, ja);
    press(&mut state, &[Key::Character(' '), Key::Enter, Key::Down, Key::Character(' ')]);
    add("11-regions", state);
    let saved = || {
        let mut state = listed(start(), 0, ja);
        assert!(matches!(press(&mut state, &[Key::Character(' '), Key::Enter]), Some(Action::Save(_))));
        state.on(Event::Planned(save_plan(ja)));
        state.on(Event::Asked { names: Vec::new() });
        state
    };
    add("12-save-plan", saved());
    let mut state = saved();
    press(&mut state, &[Key::Enter]);
    add("13-save-confirm", state);
    let go = || {
        let mut state = saved();
        assert_eq!(press(&mut state, &[Key::Enter, Key::Down, Key::Enter]), Some(Action::Go));
        running(&mut state, ja);
        state
    };
    add("14-running", go());
    let mut state = go();
    press(&mut state, &[Key::Character('c')]);
    add("15-stop", state);
    let mut state = go();
    let lines = if ja {
        [
            "node-a-20261123 を保存しました: 62 GiB、9 min 12 s",
            "  新規 21 GiB (保存後 9.8 GiB)、保存済み 38 GiB、ゼロ 3 GiB",
            "  レポート: images/node-a-20261123/report.ja.txt",
            "  同じ場所にログ (images/node-a-20261123/log.jsonl) とチェックリスト (checklist.en.txt、checklist.ja.txt) があります",
        ]
    } else {
        [
            "Saved node-a-20261123: 62 GiB in 9 min 12 s",
            "  new 21 GiB (stored as 9.8 GiB), in the repository already 38 GiB, zeros 3 GiB",
            "  report: images/node-a-20261123/report.en.txt",
            "  beside it: the log (images/node-a-20261123/log.jsonl) and the checklists (checklist.en.txt, checklist.ja.txt)",
        ]
    };
    let notes = lines.into_iter().map(|line| Note::new(Weight::Plain, line)).collect();
    state.on(Event::Done(Outcome { weight: Weight::Good, notes }));
    add("16-result", state);
    add("17-images", opened(start(), 2, ja));
    let assigned = |task: usize| {
        let mut state = opened(start(), task, ja);
        assert_eq!(press(&mut state, &[Key::Enter]), Some(Action::ListDisks));
        state.on(Event::Disks(disks(ja)));
        state
    };
    add("18-assign", assigned(2));
    let mut state = assigned(2);
    press(&mut state, &[Key::Enter, Key::Down]);
    add("19-pick", state);
    let planned = |asks: bool| {
        let mut state = assigned(2);
        assert!(matches!(press(&mut state, &[Key::End, Key::Enter]), Some(Action::Restore(_))));
        state.on(Event::Planned(restore_plan(ja, asks)));
        if !asks {
            state.on(Event::Asked { names: vec!["/dev/sda".into()] });
        }
        state
    };
    add("20-restore-plan", planned(false));
    let mut state = planned(true);
    press(&mut state, &[Key::Enter]);
    add("21-scope", state);
    let mut state = planned(false);
    press(&mut state, &[Key::Enter]);
    add("22-restore-confirm", state);
    let mut state = planned(false);
    press(&mut state, &[Key::Enter, Key::Down, Key::Enter]);
    write(&mut state, "/dev/sdb");
    press(&mut state, &[Key::Enter]);
    add("23-typed-wrong", state);
    let mut state = assigned(2);
    press(&mut state, &[Key::End, Key::Enter]);
    state.on(Event::Failed(failure("shared-disk", ja)));
    add("24-refused", state);
    let mut state = assigned(2);
    press(&mut state, &[Key::End, Key::Enter]);
    state.on(Event::Failed(failure("shared-disk", ja)));
    press(&mut state, &[Key::Down, Key::Enter]);
    add("25-override", state);
    let mut state = start();
    press(&mut state, &[Key::Interrupt]);
    add("26-quit", state);
    add("27-verify", opened(start(), 4, ja));
    let medium = || start_on_medium(language, drawing);
    let mut state = medium();
    press(&mut state, &[Key::Enter, Key::Down]);
    add("28-keyboard", state);
    let tasks = || {
        let mut state = medium();
        let action = press(&mut state, &[Key::Enter, Key::Down, Key::Enter]);
        assert_eq!(action, Some(Action::UseKeyboard("jp106".into())));
        state
    };
    add("29-task-on-medium", tasks());
    let mut state = tasks();
    press(&mut state, &[Key::Enter]);
    add("30-target-on-medium", state);
    let linked = || {
        let mut state = tasks();
        assert_eq!(press(&mut state, &[Key::Enter, Key::End, Key::Enter]), Some(Action::ListLinks));
        state.on(Event::Network(network()));
        state
    };
    let mut state = linked();
    press(&mut state, &[Key::Down, Key::Character(' ')]);
    add("31-network", state);
    let mut state = linked();
    press(&mut state, &[Key::Character(' '), Key::Down, Key::Character(' '), Key::Enter]);
    press(&mut state, &[Key::Character(' '), Key::Down]);
    write(&mut state, "192.0.2.5");
    let action = press(&mut state, &[Key::Down, Key::Down, Key::Down, Key::Down, Key::Down, Key::Enter]);
    assert!(matches!(&action, Some(Action::SetUp(setup)) if setup.links.len() == 2), "{action:?}");
    state.on(Event::Failed(bad_address(ja)));
    add("32-network-setup", state);
    let mut state = linked();
    press(&mut state, &[Key::Character('t')]);
    write(&mut state, "nas1");
    assert_eq!(press(&mut state, &[Key::Enter]), Some(Action::Probe("nas1".into())));
    state.on(Event::Probed(answers(ja)));
    add("33-connection-test", state);
    let mut state = listed(start(), 0, ja);
    press(&mut state, &[Key::Down, Key::Character(' '), Key::Enter]);
    state.on(Event::Gate(gate(ja)));
    write(&mut state, "shared");
    press(&mut state, &[Key::Enter]);
    add("34-shared-disk", state);
    let mut state = start();
    let action = press(&mut state, &[Key::Enter, Key::Enter, Key::Down, Key::Down, Key::Enter]);
    assert_eq!(action, Some(Action::ListVolumes));
    let volume = |label: &str, about: &str| Volume { label: label.into(), about: about.into() };
    state.on(Event::Volumes(vec![volume("BACKUP", "exfat  /dev/sdc1"), volume("TOOLS", "vfat  /dev/sdd1")]));
    press(&mut state, &[Key::Right]);
    add("35-usb", state);
    let mut state = assigned(3);
    press(&mut state, &[Key::Enter, Key::Down, Key::Enter, Key::End, Key::Enter]);
    press(&mut state, &[Key::Down, Key::Character(' '), Key::Character('m')]);
    add("36-restore-regions", state);
    let mut state = assigned(2);
    press(&mut state, &[Key::Enter, Key::Enter, Key::Down, Key::Down, Key::Enter, Key::Enter, Key::Down, Key::Enter]);
    let action = press(&mut state, &[Key::Up, Key::Down, Key::Down, Key::Enter]);
    let wanted = |restore: &Restore| restore.has_new_identity && restore.grow.as_deref() == Some("p1");
    assert!(matches!(&action, Some(Action::Restore(restore)) if wanted(restore)), "{action:?}");
    press(&mut state, &[Key::Escape]);
    add("37-grow-and-identity", state);
    scenes
}

fn gate(is_japanese: bool) -> Gate {
    let say = |english: &str, japanese: &str| if is_japanese { japanese } else { english }.to_owned();
    let text = say("/dev/sdb is shared, or may be (shared):", "/dev/sdb は共有ディスクです (shared)。");
    let finding = say("it is connected by fc [E3: fc]", "fc で接続されています [E3: fc]");
    Gate { text, findings: vec![Note::new(Weight::Warning, finding)], words: "SHARED".into() }
}

fn network() -> Network {
    let link = |name: &str, has_carrier, mac: &str, addresses: &[&str]| Link {
        name: name.into(),
        has_carrier,
        mac: mac.into(),
        addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
        about: "Ethernet".into(),
    };
    let links = vec![
        link("eno1", true, "94:18:82:00:00:01", &["192.0.2.5/24"]),
        link("eno2", true, "94:18:82:00:00:02", &[]),
        link("ens3f0", false, "94:18:82:00:00:03", &[]),
    ];
    Network { links, gateway: Some("192.0.2.1".into()), servers: vec!["192.0.2.1".into()] }
}

fn bad_address(is_japanese: bool) -> Failure {
    let say = |english: &str, japanese: &str| if is_japanese { japanese } else { english }.to_owned();
    Failure {
        code: "network-address".into(),
        message: say(
            "\"192.0.2.5\" is no address with a prefix length, as 192.0.2.5/24.",
            "「192.0.2.5」はアドレスとして読めません。192.0.2.5/24 のように、プレフィックス長を付けてください。",
        ),
        ..Failure::default()
    }
}

fn answers(is_japanese: bool) -> Vec<Note> {
    let say = |english: &str, japanese: &str| if is_japanese { japanese } else { english }.to_owned();
    let note = |weight, code: &str, text| Note { code: code.into(), text, weight };
    vec![
        note(Weight::Good, "", say("nas1 is 192.0.2.9.", "nas1 のアドレスは 192.0.2.9 です。")),
        note(Weight::Good, "", say("192.0.2.9 answers to ping.", "192.0.2.9 は ping に応答します。")),
        note(Weight::Good, "", say("Port 2049 (NFS) is open.", "ポート 2049 (NFS) に接続できます。")),
        note(
            Weight::Warning,
            "port-closed",
            say(
                "Port 445 (SMB): the machine answers, but nothing listens there.",
                "ポート 445 (SMB): サーバーは応答しますが、サービスが動いていません。",
            ),
        ),
    ]
}

fn opened_smb(mut state: State) -> State {
    press(&mut state, &[Key::Enter, Key::Enter, Key::Down, Key::Enter]);
    write(&mut state, "nas1");
    press(&mut state, &[Key::Down]);
    write(&mut state, "images");
    press(&mut state, &[Key::Down]);
    write(&mut state, "operator");
    press(&mut state, &[Key::End, Key::Down, Key::Down, Key::Down, Key::Down, Key::Enter]);
    state
}

/// The cells of a terminal of this size.
fn cells(state: &State, columns: u16, lines: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| state.draw(frame)).unwrap();
    terminal.backend().buffer().clone()
}

/// What a terminal of this size shows.
fn drawn(state: &State, columns: u16, lines: u16) -> String {
    let buffer = cells(state, columns, lines);
    let mut text = String::new();
    for line in 0..lines {
        let mut column = 0;
        let mut row = String::new();
        while column < columns {
            let symbol = buffer[(column, line)].symbol();
            row.push_str(symbol);
            column += u16::try_from(symbol.width().max(1)).unwrap();
        }
        assert_eq!(row.width(), usize::from(columns), "{row}");
        writeln!(text, "{}", row.trim_end()).unwrap();
    }
    text
}

#[test]
fn every_screen_looks_as_it_was_reviewed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let is_written = std::env::var_os("SOSEI_WRITE_SNAPSHOTS").is_some();
    let looks = [(80, 24, Drawing::Unicode), (120, 40, Drawing::Unicode), (80, 24, Drawing::Ascii)];
    let mut wrong = Vec::new();
    for language in [Language::English, Language::Japanese] {
        for (columns, lines, drawing) in looks {
            let code = if language == Language::English { "en" } else { "ja" };
            let plain = if drawing == Drawing::Ascii { "-ascii" } else { "" };
            let directory = directory.join(format!("{code}-{columns}x{lines}{plain}"));
            let scenes = scenes(language, drawing).into_iter();
            let mut pictures: Vec<(String, String)> =
                scenes.map(|scene| (scene.name.to_owned(), drawn(&scene.state, columns, lines))).collect();
            let mut states = String::new();
            for scene in states::states(language, drawing) {
                // Empty lines are much of a large terminal.
                let text = drawn(&scene.state, columns, lines);
                let rows: Vec<&str> = text.lines().filter(|row| !row.is_empty()).collect();
                writeln!(states, "######## {}\n{}\n", scene.name, rows.join("\n")).unwrap();
            }
            pictures.push(("states".to_owned(), states));
            for (name, text) in pictures {
                let file = directory.join(format!("{name}.txt"));
                if is_written {
                    std::fs::create_dir_all(&directory).unwrap();
                    std::fs::write(&file, &text).unwrap();
                } else if std::fs::read_to_string(&file).unwrap_or_default() != text {
                    wrong.push(format!("{}\n{text}", file.display()));
                }
                if drawing == Drawing::Ascii && language == Language::English {
                    let odd: String = text.replace("共有", "").replace("日本語", "").replace("言語", "");
                    assert!(odd.is_ascii(), "{name}: {odd}");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "SOSEI_WRITE_SNAPSHOTS=1 draws these anew:\n{}", wrong.join("\n"));
}

/// Every scene and state twice: without colours, and with them.
fn in_both_looks(language: Language, drawing: Drawing) -> Vec<(Scene, State)> {
    let all = || {
        let all = scenes(language, drawing).into_iter().chain(states::states(language, drawing));
        // Another terminal can show kanji.
        all.filter(|scene| scene.name != "language without kanji")
    };
    let coloured = all().map(|mut scene| {
        scene.state.use_terminal(Look { has_colours: true, drawing }, true);
        scene.state
    });
    all().zip(coloured).collect()
}

#[test]
fn without_colours_nothing_is_lost() {
    for (scene, coloured) in in_both_looks(Language::Japanese, Drawing::Unicode) {
        let (plain, coloured) = (cells(&scene.state, 80, 24), cells(&coloured, 80, 24));
        let has_colour = |color: Color| color != Color::Reset;
        let is_coloured =
            |buffer: &Buffer| buffer.content.iter().any(|cell| has_colour(cell.fg) || has_colour(cell.bg));
        assert!(!is_coloured(&plain), "{}: NO_COLOR", scene.name);
        assert!(is_coloured(&coloured), "{}: the bars at least", scene.name);
        let is_of_16 = |color: Color| !matches!(color, Color::Rgb(..) | Color::Indexed(_));
        assert!(coloured.content.iter().all(|cell| is_of_16(cell.fg) && is_of_16(cell.bg)), "{}", scene.name);
        for (position, (plain, coloured)) in plain.content.iter().zip(&coloured.content).enumerate() {
            assert_eq!(plain.symbol(), coloured.symbol(), "{}: {position}", scene.name);
        }
    }
}

#[test]
fn the_text_about_a_task_is_shown_whole() {
    for language in [Language::English, Language::Japanese] {
        for task in 0..14 {
            let mut state = start_on_medium(language, Drawing::Ascii);
            press(&mut state, &[Key::Enter, Key::Enter]);
            press(&mut state, &vec![Key::Down; task]);
            let shown = drawn(&state, 80, 24);
            assert!(!shown.contains('~'), "{shown}");
        }
    }
}

#[test]
fn no_size_of_a_terminal_and_no_key_makes_a_screen_fail() {
    let keys = [Key::Up, Key::Down, Key::Enter, Key::Character('x'), Key::Left, Key::PageDown, Key::Escape, Key::Tab];
    for (scene, _) in in_both_looks(Language::Japanese, Drawing::Unicode) {
        let mut state = scene.state;
        for (number, key) in keys.iter().cycle().take(40).enumerate() {
            let number = u16::try_from(number).unwrap();
            drawn(&state, 1 + number * 7, 1 + number * 3);
            drawn(&state, 80, 24);
            state.on(Event::Key(*key));
        }
    }
}

#[test]
fn nothing_destructive_is_chosen_before_it_is_chosen() {
    // Enter alone leads nowhere near a disk, wherever it is pressed.
    for scene in scenes(Language::English, Drawing::Ascii) {
        let mut state = scene.state;
        for _ in 0..20 {
            let action = state.on(Event::Key(Key::Enter));
            let is_harmless =
                !matches!(action, Some(Action::Go | Action::Scope(_) | Action::PowerOff | Action::Reboot));
            assert!(is_harmless, "{}: {action:?}", scene.name);
        }
    }
}
