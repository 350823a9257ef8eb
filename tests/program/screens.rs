//! The screens, used as an operator uses them: on a terminal, by keys, looking at what is shown.
#![allow(clippy::arithmetic_side_effects, clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use tests::program::sosei;
use tests::samba::{PASSWORD, USER};
use tests::sample::{Content, MIB, SampleDisk, read};
use tests::smb_scene::Scene;
use tests::terminal::Terminal;
use tests::terminal::key::{DOWN, END, ENTER, UP};
use unicode_width::UnicodeWidthStr;

/// A disk that is quickly saved.
fn disk() -> SampleDisk {
    let mut disk = SampleDisk::new("node.img", 24 * MIB);
    disk.divide(
        512,
        "label: dos\nlabel-id: 0x1b2c3d4e\nstart=1MiB, size=16MiB, type=83\nstart=17MiB, size=6MiB, type=da\n",
    );
    disk.add("p1", MIB, 16 * MIB, Content::Ext4, 512);
    disk.add("p2", 17 * MIB, 6 * MIB, Content::Raw, 512);
    disk
}

/// The texts that the operator of a language looks for.
struct Words {
    code: &'static str,
    language: &'static str,
    task: &'static str,
    kind: &'static str,
    path: &'static str,
    name: &'static str,
    disks: &'static str,
    plan: &'static str,
    question: &'static str,
    good: &'static str,
    kind_again: &'static str,
    assign: &'static str,
    pick: &'static str,
    restore_plan: &'static str,
    restore_question: &'static str,
    typed: &'static str,
    wrong: &'static str,
    compare: &'static str,
}

const ENGLISH: Words = Words {
    code: "en",
    language: "Choose the language.",
    task: "restoredisk",
    kind: "Where shall the image be kept?",
    path: "A directory that exists",
    name: "This name is free.",
    disks: "Mark the disks to save",
    plan: "The disks are only read.",
    question: "Yes, save",
    good: "Done: everything is well.",
    kind_again: "The same as before",
    assign: "that is overwritten",
    pick: "Which disk shall take node?",
    restore_plan: "will overwrite these disks",
    restore_question: "All data on them will be lost.",
    typed: "Confirm again",
    wrong: "That is another name.",
    compare: "that it is compared with",
};

const JAPANESE: Words = Words {
    code: "ja",
    language: "言語を選んでください。",
    task: "restoredisk",
    kind: "イメージの保存先を選んでください。",
    path: "既存のディレクトリ",
    name: "この名前は使えます。",
    disks: "保存するディスクに Space で印を付け",
    plan: "ディスクは読み取るだけです。",
    question: "はい、保存する",
    good: "完了しました。問題はありません。",
    kind_again: "前回と同じ",
    assign: "上書きするディスクを選んでください",
    pick: "node に対応するディスクを選んでください。",
    restore_plan: "次のディスクを上書きします",
    restore_question: "ディスクのデータはすべて失われます",
    typed: "再確認",
    wrong: "名前が一致しません。",
    compare: "比較するディスクを選んでください",
};

/// The screens with these files as disks.
fn open(disks: &[&str], environment: &[(&str, &str)]) -> Terminal {
    let arguments: Vec<&str> = disks.iter().flat_map(|disk| ["--disk", disk]).collect();
    Terminal::open(&arguments, environment, 80, 24)
}

/// From the first screen to the disks of a save into a directory.
fn to_disks(terminal: &Terminal, words: &Words, target: &str) {
    terminal.at(words.language, &[ENTER]);
    terminal.at(words.task, &[ENTER]);
    terminal.at(words.kind, &[DOWN, DOWN, DOWN, ENTER]);
    terminal.at(words.path, &[target, ENTER, ENTER]);
    to_disks_from_name(terminal, words);
}

fn to_disks_from_name(terminal: &Terminal, words: &Words) {
    terminal.at(words.name, &[DOWN, DOWN, DOWN, ENTER]);
    terminal.wait_for(&[words.disks]);
}

/// From the disks of a save to the result. The last of the list is saved.
fn save_last(terminal: &Terminal, words: &Words) {
    terminal.at(words.disks, &[END, " ", ENTER]);
    terminal.at(words.plan, &[ENTER]);
    terminal.at(words.question, &[DOWN, ENTER]);
}

fn only_image(target: &str) -> String {
    let listed = sosei(["images", target, "--json"]).expect(0).json();
    assert_eq!(listed["images"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["images"][0]["state"], "whole", "{listed}");
    listed["images"][0]["name"].as_str().unwrap().to_owned()
}

fn saves_and_restores(words: &Words) {
    let disk = disk();
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().to_str().unwrap();
    let destination = disk.destination("new.img", disk.size());
    let destination = destination.to_str().unwrap();
    // A source comes last in the list, a destination before it.
    let locale = if words.code == "ja" { "ja_JP.UTF-8" } else { "C.UTF-8" };
    let recording = directory.path().join("events.jsonl");
    let environment = [("LC_ALL", locale), ("SOSEI_APPLIANCE", ""), ("SOSEI_RECORD", recording.to_str().unwrap())];
    let target = &format!("{target}/repository");
    std::fs::create_dir(target).unwrap();
    let terminal = open(&[destination, disk.text()], &environment);
    to_disks(&terminal, words, target);
    terminal.press(END);
    terminal.wait_for(&["node.img", "1b2c3d4e"]);
    save_last(&terminal, words);
    terminal.at(words.good, &[ENTER]);
    let image = only_image(target);
    sosei(["compare", target, &image, disk.text()]).expect(0);

    terminal.at(words.task, &[DOWN, DOWN, ENTER]);
    terminal.at(words.kind_again, &[ENTER]);
    terminal.at(&image, &[ENTER]);
    terminal.at(words.assign, &[ENTER]);
    terminal.at(words.pick, &[END, UP, UP, ENTER]);
    terminal.wait_for(&[words.assign, "new.img"]);
    terminal.press(END);
    terminal.press(ENTER);
    terminal.at(words.restore_plan, &[ENTER]);
    // Neither Enter alone nor another name overwrites anything.
    terminal.at(words.restore_question, &[ENTER]);
    terminal.at(words.restore_plan, &[ENTER]);
    terminal.at(words.restore_question, &[DOWN, ENTER]);
    let before = std::fs::read(destination).unwrap();
    terminal.at(words.typed, &["/dev/sda", ENTER]);
    terminal.wait_for(&[words.wrong]);
    assert!(std::fs::read(destination).unwrap() == before, "nothing was typed that allows it");
    terminal.press(&"\x7f".repeat(8));
    terminal.press(destination);
    terminal.press(ENTER);
    terminal.at(words.good, &[ENTER]);
    sosei(["compare", target, &image, destination]).expect(0);

    terminal.at(words.task, &[DOWN, DOWN, DOWN, ENTER]);
    terminal.at(words.kind_again, &[ENTER]);
    terminal.at(&image, &[ENTER]);
    terminal.at(words.compare, &[ENTER]);
    terminal.at(words.pick, &[END, UP, UP, ENTER]);
    terminal.wait_for(&[words.compare, "new.img"]);
    terminal.press(END);
    terminal.press(ENTER);
    terminal.wait_for(&[words.good]);
    let shown = terminal.text();
    terminal.press(END);
    terminal.press(ENTER);
    assert_eq!(terminal.finish(), 0);
    assert_eq!(replayed(&recording, 2), trimmed(&shown), "what was recorded leads to the same screen");
}

/// What a recording shows in the end, without its last events.
fn replayed(recording: &Path, without: usize) -> String {
    let mut recording = tui::Recording::read(&std::fs::read_to_string(recording).unwrap()).unwrap();
    recording.events.truncate(recording.events.len() - without);
    let (columns, lines) = (recording.head.columns, recording.head.lines);
    let mut terminal = ratatui::Terminal::new(ratatui::backend::TestBackend::new(columns, lines)).unwrap();
    let state = recording.play();
    terminal.draw(|frame| state.draw(frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |line: u16| {
        let (mut column, mut row) = (0, String::new());
        while column < columns {
            let symbol = buffer[(column, line)].symbol();
            row.push_str(symbol);
            column += u16::try_from(symbol.width().max(1)).unwrap();
        }
        row.trim_end().to_owned()
    };
    (0..lines).map(row).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// What is shown, without spaces that nobody sees.
fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

#[test]
fn a_disk_is_saved_and_restored_in_english() {
    saves_and_restores(&ENGLISH);
}

#[test]
fn a_disk_is_saved_and_restored_in_japanese() {
    saves_and_restores(&JAPANESE);
}

/// From the plan of a restore to its end.
fn overwrite(terminal: &Terminal, words: &Words, destination: &str) {
    terminal.at(words.restore_plan, &[ENTER]);
    terminal.at(words.restore_question, &[DOWN, ENTER]);
    terminal.at(words.typed, &[destination, ENTER]);
    terminal.wait_for(&[words.good]);
}

/// From the tasks to the form that says which disk goes where; the last but one of the attached takes the only one.
fn assign(terminal: &Terminal, words: &Words, image: &str, keys: &[&str], destination: &str) {
    terminal.at(words.task, keys);
    terminal.at(words.kind_again, &[ENTER]);
    terminal.at(image, &[ENTER]);
    terminal.at(words.assign, &[ENTER]);
    terminal.at(words.pick, &[END, UP, UP, ENTER]);
    terminal.wait_for(&[words.assign, destination]);
}

/// What is used in the file system must be there again.
fn check_p1(disk: &SampleDisk, restored: &Path) {
    for used in disk.part("p1").used.iter() {
        let (start, length) = (MIB + used.start(), used.length());
        assert!(read(restored, start, length) == read(&disk.path, start, length), "p1 from {start}");
    }
}

/// The lines of a partition table.
fn table(disk: &str) -> String {
    tests::run("sfdisk", ["--dump", disk])
}

#[test]
fn partitions_are_saved_and_restored_also_into_others() {
    let words = &ENGLISH;
    let disk = disk();
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().to_str().unwrap();
    let mut destination = SampleDisk::new("new.img", 32 * MIB);
    destination.divide(512, "label: dos\nstart=1MiB, size=16MiB, type=83\nstart=17MiB, size=6MiB, type=da\nstart=24MiB, size=7MiB, type=da\n");
    destination.add("p2", 17 * MIB, 6 * MIB, Content::Raw, 512);
    let (table_before, p2_before) = (table(destination.text()), read(&destination.path, 17 * MIB, 6 * MIB));
    let terminal = open(&[destination.text(), disk.text()], &[]);
    terminal.at(words.language, &[ENTER]);
    terminal.at(words.task, &[DOWN, ENTER]);
    terminal.at(words.kind, &[DOWN, DOWN, DOWN, ENTER]);
    terminal.at(words.path, &[target, ENTER, ENTER]);
    to_disks_from_name(&terminal, words);
    terminal.at(words.disks, &[END, " ", ENTER]);
    // Without a mark nothing follows.
    terminal.at("Mark the partitions", &[ENTER, " ", DOWN, " ", ENTER]);
    terminal.at(words.plan, &[ENTER]);
    terminal.at(words.question, &[DOWN, ENTER]);
    terminal.at(words.good, &[ENTER]);
    let image = only_image(target);
    let shown = sosei(["show", target, &image]).expect(0).stdout;
    assert_eq!(shown.matches("left out: not chosen").count(), 2, "both gaps: {shown}");

    // p2 goes to p3, then p1 into its own place.
    assign(&terminal, words, &image, &[DOWN, DOWN, ENTER], "new.img");
    terminal.press(END);
    terminal.press(ENTER);
    terminal.at("Mark the partitions", &[DOWN, " ", "m"]);
    terminal.wait_for(&["[x] node:p2", "-> node:p3"]);
    terminal.press(ENTER);
    overwrite(&terminal, words, destination.text());
    terminal.press(ENTER);
    assert!(read(&destination.path, 24 * MIB, 6 * MIB) == read(&disk.path, 17 * MIB, 6 * MIB), "p2 is in p3");
    assign(&terminal, words, &image, &[ENTER], "new.img");
    terminal.press(END);
    terminal.press(ENTER);
    terminal.at("Mark the partitions", &[" ", ENTER]);
    overwrite(&terminal, words, destination.text());
    terminal.press(END);
    terminal.press(ENTER);
    assert_eq!(terminal.finish(), 0);
    check_p1(&disk, &destination.path);
    assert!(read(&destination.path, 17 * MIB, 6 * MIB) == p2_before, "p2 was not chosen");
    assert_eq!(table(destination.text()), table_before);
}

#[test]
fn a_larger_disk_is_filled_and_a_copy_gets_names_of_its_own() {
    let words = &ENGLISH;
    let disk = disk();
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().to_str().unwrap();
    sosei(["save", target, "node", disk.text()]).expect(0);
    let larger = disk.destination("larger.img", 40 * MIB);
    let larger = larger.to_str().unwrap();
    let terminal = open(&[larger, disk.text()], &[]);
    terminal.at(words.language, &[ENTER]);
    terminal.at(words.task, &[DOWN, DOWN, ENTER]);
    terminal.at("Where is the image?", &[DOWN, DOWN, DOWN, ENTER]);
    terminal.at(words.path, &[target, ENTER, ENTER]);
    terminal.at("node  ", &[ENTER]);
    terminal.at(words.assign, &[ENTER]);
    terminal.at(words.pick, &[END, UP, UP, ENTER]);
    terminal.wait_for(&[words.assign, "larger.img"]);
    [DOWN, DOWN, ENTER].iter().for_each(|key| terminal.press(key));
    terminal.at("[x] the last partition takes the rest", &[END, ENTER]);
    overwrite(&terminal, words, larger);
    terminal.press(ENTER);
    let grown = table(larger);
    assert!(grown.contains("label-id: 0x1b2c3d4e"), "{grown}");
    // 40 MiB less the first 17.
    assert!(grown.contains("start=       34816, size=       47104, type=da"), "{grown}");
    let check_p2 = || assert!(read(Path::new(larger), 17 * MIB, 6 * MIB) == read(&disk.path, 17 * MIB, 6 * MIB), "p2");
    check_p1(&disk, Path::new(larger));
    check_p2();

    assign(&terminal, words, "node  ", &[ENTER], "larger.img");
    [DOWN, DOWN, DOWN, ENTER].iter().for_each(|key| terminal.press(key));
    terminal.at("[x] a copy beside its original", &[END, ENTER]);
    overwrite(&terminal, words, larger);
    terminal.wait_for(&["The copy has new signatures"]);
    terminal.press(END);
    terminal.press(ENTER);
    assert_eq!(terminal.finish(), 0);
    let copy = table(larger);
    assert!(copy.contains("label-id: 0x") && !copy.contains("0x1b2c3d4e"), "{copy}");
    check_p2();
    // The file system is sound, and has a name of its own.
    let p1 = directory.path().join("p1");
    let uuid_on = |disk: &Path| {
        std::fs::write(&p1, read(disk, MIB, 16 * MIB)).unwrap();
        tests::run("e2fsck", ["-fn", p1.to_str().unwrap()]);
        tests::run("blkid", ["-p", "-o", "value", "-s", "UUID", p1.to_str().unwrap()])
    };
    assert_ne!(uuid_on(Path::new(larger)), uuid_on(&disk.path));
}

/// From the first screen to an open share.
fn to_share(terminal: &Terminal, scene: &Scene, password: &str) {
    let words = &ENGLISH;
    terminal.at(words.language, &[ENTER]);
    terminal.at(words.task, &[ENTER]);
    terminal.at(words.kind, &[DOWN, ENTER]);
    let server = format!("127.0.0.1:{}", scene.server.proxy.port());
    terminal.at(
        "Name or IP address",
        &[&server, ENTER, "images", ENTER, USER, ENTER, ENTER, password, ENTER, ENTER, ENTER],
    );
}

#[test]
fn a_wrong_password_is_told_and_the_right_one_goes_on() {
    let scene = Scene::new();
    let disk = disk();
    let terminal = open(&[disk.text()], &[]);
    to_share(&terminal, &scene, "hunter2");
    terminal.wait_for(&["[target-login]", "*******"]);
    assert!(!terminal.text().contains("hunter2"), "{}", terminal.text());
    terminal.press(&"\x7f".repeat(7));
    terminal.press(PASSWORD);
    terminal.press(&ENTER.repeat(3));
    to_disks_from_name(&terminal, &ENGLISH);
    save_last(&terminal, &ENGLISH);
    terminal.at(ENGLISH.good, &[END, ENTER]);
    assert_eq!(terminal.finish(), 0);
    let target = scene.path("");
    let image = only_image(target.to_str().unwrap());
    sosei(["compare", target.to_str().unwrap(), &image, disk.text()]).expect(0);
}

/// A save to a share that does not answer any more.
fn stalled_save(scene: &Scene, disk: &SampleDisk, environment: &[(&str, &str)]) -> Terminal {
    let terminal = open(&[disk.text()], environment);
    to_share(&terminal, scene, PASSWORD);
    to_disks_from_name(&terminal, &ENGLISH);
    terminal.at(ENGLISH.disks, &[END, " ", ENTER]);
    terminal.wait_for(&[ENGLISH.plan]);
    terminal.press(ENTER);
    terminal.wait_for(&[ENGLISH.question]);
    scene.server.proxy.stall(true);
    terminal.press(DOWN);
    terminal.press(ENTER);
    terminal.wait_for(&["c stop"]);
    terminal
}

/// Waits until the work has run for so many seconds.
fn wait_for_elapsed(terminal: &Terminal, seconds: u64) {
    terminal.wait_until("the elapsed time", |screen| elapsed(screen).is_some_and(|elapsed| elapsed >= seconds));
}

/// For how many seconds the work has run, as far as that is shown.
fn elapsed(screen: &str) -> Option<u64> {
    let rest = screen.split_once("elapsed ")?.1;
    rest.split_once(" s")?.0.parse().ok()
}

#[test]
fn work_stops_in_order_and_goes_on_later() {
    let scene = Scene::new();
    let disk = disk();
    let terminal = stalled_save(&scene, &disk, &[]);
    // What runs is drawn twice a second at most.
    wait_for_elapsed(&terminal, 2);
    let before = terminal.sent_bytes();
    wait_for_elapsed(&terminal, 6);
    let sent = terminal.sent_bytes() - before;
    assert!((1..4 * 2048).contains(&sent), "{sent} bytes in 4 s");
    // Asked first, and not preselected.
    terminal.press("c");
    terminal.at("Yes, stop", &[ENTER]);
    terminal.at("c stop", &["\x03"]);
    terminal.at("Yes, stop", &[DOWN, ENTER]);
    terminal.wait_for(&["[cancelled]", "Try again"]);
    scene.server.proxy.stall(false);
    terminal.press(DOWN);
    terminal.press(ENTER);
    terminal.at(ENGLISH.plan, &[ENTER]);
    terminal.at(ENGLISH.question, &[DOWN, ENTER]);
    terminal.at(ENGLISH.good, &[END, ENTER]);
    assert_eq!(terminal.finish(), 0);
    only_image(scene.path("").to_str().unwrap());
}

#[test]
fn a_target_that_is_lost_is_told_and_work_goes_on_when_it_is_back() {
    let scene = Scene::new();
    let disk = disk();
    let terminal = stalled_save(&scene, &disk, &[]);
    scene.server.proxy.refuse(true);
    scene.server.proxy.cut();
    scene.server.proxy.stall(false);
    terminal.wait_for(&["The target does not answer", "c stop"]);
    scene.server.proxy.refuse(false);
    terminal.at(ENGLISH.good, &[END, ENTER]);
    assert_eq!(terminal.finish(), 0);
    let target = scene.path("");
    let image = only_image(target.to_str().unwrap());
    sosei(["compare", target.to_str().unwrap(), &image, disk.text()]).expect(0);
}

/// Starts the program again where a job is at work.
fn come_back(environment: &[(&str, &str)]) -> Terminal {
    let terminal = Terminal::open(&[], environment, 100, 30);
    let is_asked = |screen: &str| screen.contains("[y/N]");
    terminal.wait_until("the job", |screen| is_asked(screen) || screen.contains("c stop"));
    // A terminal that has gone may not have been missed yet.
    if is_asked(&terminal.text()) {
        terminal.press("y\n");
    }
    terminal.wait_for(&["c stop"]);
    terminal
}

#[test]
fn work_goes_on_without_a_terminal_and_is_shown_again() {
    let scene = Scene::new();
    let disk = disk();
    let runtime = tempfile::tempdir().unwrap();
    let environment = [("SOSEI_RUNTIME", runtime.path().to_str().unwrap())];
    let first = stalled_save(&scene, &disk, &environment);
    // As long as it is shown elsewhere, that is asked for; the other terminal is told.
    let mut second = Terminal::open(&[], &environment, 100, 30);
    second.at("[y/N]", &["y\n"]);
    second.wait_for(&["c stop"]);
    first.wait_for(&["The screens went to another terminal."]);
    // What is typed there now stops nothing.
    first.press("\x03");
    // Without the end of a line, but handed over.
    first.press("c\x04");
    wait_for_elapsed(&second, elapsed(&second.text()).unwrap() + 2);
    assert!(!second.text().contains("Yes, stop"), "{}", second.text());
    second.hang_up();
    let mut third = come_back(&environment);
    third.press("c");
    third.at("Yes, stop", &[ENTER]);
    third.wait_for(&["c stop"]);
    third.hang_up();
    assert_eq!(third.finish(), 0);
    scene.server.proxy.stall(false);
    assert_eq!(first.finish(), 0);
    // It ended unseen; whoever comes next is told, once.
    let fourth = open(&[], &environment);
    fourth.at(ENGLISH.good, &[END, ENTER]);
    assert_eq!(fourth.finish(), 0);
    let fifth = open(&[], &environment);
    fifth.wait_for(&[ENGLISH.language]);
    let target = scene.path("");
    let image = only_image(target.to_str().unwrap());
    sosei(["compare", target.to_str().unwrap(), &image, disk.text()]).expect(0);
}

#[test]
fn a_destination_that_may_be_somebody_elses_needs_its_name_typed() {
    let disk = disk();
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().to_str().unwrap();
    sosei(["save", target, "node", disk.text()]).expect(0);
    let destination = disk.destination("new.img", disk.size());
    let other_name = destination.with_extension("other");
    std::fs::hard_link(&destination, other_name).unwrap();
    let destination = destination.to_str().unwrap();
    let words = &ENGLISH;
    let terminal = open(&[destination], &[]);
    terminal.at(words.language, &[ENTER]);
    terminal.at(words.task, &[DOWN, DOWN, ENTER]);
    terminal.at("Where is the image?", &[DOWN, DOWN, DOWN, ENTER]);
    terminal.at(words.path, &[target, ENTER, ENTER]);
    terminal.at("node  ", &[ENTER]);
    terminal.at(words.assign, &[ENTER]);
    terminal.at(words.pick, &[END, UP, ENTER]);
    terminal.wait_for(&[words.assign, "new.img"]);
    terminal.press(END);
    terminal.press(ENTER);
    terminal.at("[other-names]", &[DOWN, ENTER]);
    terminal.at("Something speaks against it", &["x", ENTER]);
    terminal.at("That is another name", &["\x7f", destination, ENTER]);
    terminal.at(words.restore_plan, &["q"]);
    terminal.wait_for(&[words.assign]);
    drop(terminal);
    sosei(["compare", target, "node", destination]).expect(1);
}

#[test]
fn a_shared_disk_needs_the_words_of_the_command_line() {
    let disk = tests::shared_disk::sbd();
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().to_str().unwrap();
    let words = &ENGLISH;
    let terminal = open(&[disk.text()], &[]);
    to_disks(&terminal, words, target);
    // What proves it is there before anybody asks.
    terminal.press(END);
    terminal.wait_for(&["sbd.img", "[shared-disk]", "E5: sbd"]);
    terminal.press(" ");
    terminal.press(ENTER);
    terminal.at("  SHARED", &["shared", ENTER]);
    terminal.at(words.wrong, &[&"\x7f".repeat(6), "SHARED", ENTER]);
    terminal.at(words.plan, &[ENTER]);
    terminal.at(words.question, &[DOWN, ENTER]);
    terminal.at(words.good, &[ENTER]);
    let image = only_image(target);
    sosei(["compare", target, &image, disk.text()]).expect(0);

    // Overwritten it is only with all nodes, and by longer words; who does not type them changes nothing.
    let before = std::fs::read(&disk.path).unwrap();
    terminal.at(words.task, &[DOWN, DOWN, ENTER]);
    terminal.at(words.kind_again, &[ENTER]);
    terminal.at(&image, &[ENTER]);
    terminal.at(words.assign, &[ENTER]);
    terminal.at("Which disk shall take", &[END, UP, ENTER]);
    terminal.wait_for(&[words.assign, "-> /"]);
    terminal.press(END);
    terminal.press(ENTER);
    terminal.at(words.restore_plan, &[ENTER]);
    terminal.at("(all-nodes)", &[DOWN, DOWN, ENTER]);
    terminal.at("OVERWRITE SHARED", &["SHARED", ENTER]);
    terminal.at(words.wrong, &["\x1b"]);
    terminal.wait_for(&[words.assign]);
    terminal.press("\x03");
    terminal.at("End the program?", &[DOWN, ENTER]);
    assert_eq!(terminal.finish(), 0);
    assert!(std::fs::read(&disk.path).unwrap() == before, "nobody allowed it, and it was written to");
}

/// The disk of a node of a cluster, as its files tell.
fn node(name: &str) -> SampleDisk {
    let directory = tempfile::tempdir().unwrap();
    let (tree, root) = (directory.path().join("tree"), directory.path().join("root"));
    for (path, text) in [
        ("usr/lib/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
        ("etc/hostname", &format!("{name}\n")),
        ("etc/corosync/corosync.conf", "totem {\n cluster_name: hacl\n}\n"),
    ] {
        let path = tree.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    tests::run("mke2fs", ["-q", "-t", "ext4", "-d", tree.to_str().unwrap(), root.to_str().unwrap(), "8M"]);
    let disk = SampleDisk::new(&format!("{name}.img"), 12 * MIB);
    disk.divide(512, "label: dos\nstart=1MiB, size=8MiB, type=83\n");
    disk.write(MIB, &std::fs::read(root).unwrap());
    disk
}

/// From the first screen to the question before the disk of another node is overwritten.
fn to_other_node(words: &Words, target: &str, from: &str, disk: &str, question: &str) -> Terminal {
    let locale = if words.code == "ja" { "ja_JP.UTF-8" } else { "C.UTF-8" };
    let terminal = open(&[disk], &[("LC_ALL", locale), ("SOSEI_APPLIANCE", "")]);
    terminal.at(words.language, &[ENTER]);
    terminal.at(words.task, &[DOWN, DOWN, ENTER]);
    terminal.at(from, &[DOWN, DOWN, DOWN, ENTER]);
    terminal.at(words.path, &[target, ENTER, ENTER]);
    terminal.at("n1  ", &[ENTER]);
    terminal.at(words.assign, &[ENTER]);
    terminal.at(&words.pick.replace("node", "n1"), &[END, UP, ENTER]);
    terminal.wait_for(&[words.assign, "n2.img"]);
    terminal.press(END);
    terminal.press(ENTER);
    terminal.wait_for(&[question, "n2"]);
    assert!(!terminal.text().contains("--confirm"), "{}", terminal.text());
    terminal
}

#[test]
fn the_disk_of_another_node_is_overwritten_only_where_that_nodes_name_is_typed() {
    let (saved, disk) = (node("n1"), node("n2"));
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().to_str().unwrap();
    sosei(["save", target, "n1", saved.text()]).expect(0);
    let before = std::fs::read(&disk.path).unwrap();
    let is_untouched = || std::fs::read(&disk.path).unwrap() == before;

    let words = &JAPANESE;
    let terminal =
        to_other_node(words, target, "イメージのある場所を選んでください", disk.text(), "のシステムがあります");
    terminal.press("n1");
    terminal.press(ENTER);
    terminal.at(words.wrong, &["\x1b"]);
    terminal.wait_for(&[words.assign]);
    drop(terminal);
    assert!(is_untouched(), "another name was typed");

    let words = &ENGLISH;
    let terminal = to_other_node(words, target, "Where is the image?", disk.text(), "holds the system of n2");
    terminal.press(ENTER);
    terminal.press("n2");
    terminal.press(ENTER);
    terminal.wait_for(&[words.restore_plan]);
    assert!(is_untouched(), "only a plan is shown");
    overwrite(&terminal, words, disk.text());
    terminal.press(END);
    terminal.press(ENTER);
    assert_eq!(terminal.finish(), 0);
    sosei(["compare", target, "n1", disk.text()]).expect(0);
}

#[test]
fn an_idle_screen_sends_nothing_and_follows_the_size() {
    let terminal = open(&[], &[]);
    terminal.at(ENGLISH.language, &[ENTER]);
    terminal.wait_for(&[ENGLISH.task, "Signatures"]);
    // The last of the drawing may be under way; a clock or a cursor that blinks would go on for ever.
    let is_idle = (0..20).any(|_| !terminal.sends_within(Duration::from_secs(3)));
    assert!(is_idle, "{}", terminal.text());
    terminal.resize(60, 20);
    terminal.wait_for(&["60 columns"]);
    terminal.resize(120, 40);
    terminal.wait_for(&[ENGLISH.task, "Signatures"]);
    terminal.press("\x03");
    terminal.at("End the program?", &[DOWN, ENTER]);
    assert_eq!(terminal.finish(), 0);
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    for (environment, has_colours) in
        [(&[][..], true), (&[("NO_COLOR", "1")][..], false), (&[("TERM", "vt100")][..], false)]
    {
        let terminal = open(&[], environment);
        terminal.wait_for(&[ENGLISH.language]);
        assert_eq!(terminal.has_colours(), has_colours, "{environment:?}");
    }
}

#[test]
fn a_serial_line_without_a_size_is_asked_for_it() {
    let terminal = Terminal::open(&[], &[], 0, 0);
    terminal.wait_for(&[ENGLISH.language]);
    terminal.press("\x1b[30;100R");
    terminal.at(ENGLISH.language, &[ENTER]);
    terminal.wait_for(&["Signatures"]);
}

#[test]
fn without_a_terminal_it_prints_help() {
    for arguments in [&[][..], &["--disk", "x"][..]] {
        let finished = sosei(arguments).expect(2);
        assert!(finished.stderr.contains("Usage:") && finished.stdout.is_empty(), "{finished:?}");
    }
    sosei(["--disk", "x", "disks"]).expect(2);
}
