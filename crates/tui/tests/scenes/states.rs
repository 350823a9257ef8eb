//! States of the screens that no scene of its own shows: kept together in one file for each look.

use super::*;

/// A state by its name.
fn state(name: &'static str, state: State) -> Scene {
    Scene { name, state }
}

/// From the first screen to a form that asks where the repository is.
fn form(state: State, kind: usize) -> State {
    form_of(state, 0, kind)
}

fn form_of(mut state: State, task: usize, kind: usize) -> State {
    press(&mut state, &[Key::Enter]);
    press(&mut state, &vec![Key::Down; task]);
    press(&mut state, &[Key::Enter]);
    press(&mut state, &vec![Key::Down; kind]);
    press(&mut state, &[Key::Enter]);
    state
}

/// An image name that is typed in the place of the one that is offered.
fn named(state: State, name: &str, is_japanese: bool) -> State {
    let mut state = opened(state, 0, is_japanese);
    press(&mut state, &[Key::Backspace; 20]);
    write(&mut state, name);
    state
}

/// A restore that has been planned.
fn planned(state: State, plan: Plan, is_japanese: bool) -> State {
    let mut state = opened(state, 2, is_japanese);
    press(&mut state, &[Key::Enter]);
    state.on(Event::Disks(disks(is_japanese)));
    press(&mut state, &[Key::End, Key::Enter]);
    let is_asked = !plan.asks_scope;
    state.on(Event::Planned(plan));
    if is_asked {
        state.on(Event::Asked { names: vec!["/dev/sda".into()] });
    }
    state
}

/// A save that runs.
fn saving(state: State, is_japanese: bool) -> State {
    let mut state = listed(state, 0, is_japanese);
    press(&mut state, &[Key::Character(' '), Key::Enter]);
    state.on(Event::Planned(save_plan(is_japanese)));
    state.on(Event::Asked { names: Vec::new() });
    press(&mut state, &[Key::Enter, Key::Down, Key::Enter]);
    state.on(Event::Tick(0));
    state
}

/// A restore that runs.
fn restoring(state: State, is_japanese: bool) -> State {
    let mut state = planned(state, restore_plan(is_japanese, false), is_japanese);
    press(&mut state, &[Key::Enter, Key::Down, Key::Enter]);
    write(&mut state, "/dev/sda");
    assert_eq!(press(&mut state, &[Key::Enter]), Some(Action::Go));
    state.on(Event::Tick(0));
    state.on(Event::Session(session::Event::Began { phase: Phase::Restore, total: 62 * GIB }));
    state.on(Event::Session(session::Event::Region { disk: "sda".into(), region: "p3".into(), bytes: 61 * GIB }));
    for second in 1..=5 {
        state.on(Event::Session(session::Event::Progress { done: second * 180_000_000 }));
        state.on(Event::Tick(second * 1000));
    }
    state
}

/// A disk that is about to fail.
fn bad_disk(state: &mut State) {
    // As programs are told.
    let events = [
        r#"{"event": "began", "phase": "save", "total": 66571993088}"#,
        r#"{"event": "retrying", "disk": "sda", "extent": [7340032, 1048576]}"#,
        r#"{"event": "recovered", "disk": "sda", "extent": [7340032, 1048576], "failures": 1}"#,
        r#"{"event": "retrying", "disk": "sda", "extent": [128974848, 1048576]}"#,
        r#"{"event": "unreadable", "disk": "sda", "extent": [128979456, 512]}"#,
        r#"{"event": "space", "available": 21474836480, "most": 32212254720}"#,
        r#"{"event": "space", "available": 1073741824, "most": null}"#,
    ];
    for event in events {
        state.on(Event::Session(serde_json::from_str(event).unwrap()));
    }
    state.on(Event::Tick(2000));
}

fn outcome(weight: Weight, lines: &[(Weight, &str)]) -> Event {
    let notes = lines.iter().map(|(weight, line)| Note::new(*weight, *line)).collect();
    Event::Done(Outcome { weight, notes })
}

/// How a save of a disk with bad sectors ends.
fn read_in_part(is_japanese: bool) -> Event {
    let lines = if is_japanese {
        [
            "node-a-20261123 を保存しました: 62 GiB、9 min 12 s, 120 MB/s",
            "  新規 21 GiB (保存後 9.8 GiB)、保存済み 38 GiB、ゼロ 3 GiB",
            "512 B を読み取れなかったため、イメージではゼロになっています。位置は `sosei show` で確認できます。",
            "  レポート: images/node-a-20261123/report.ja.txt",
        ]
    } else {
        [
            "Saved node-a-20261123: 62 GiB in 9 min 12 s, 120 MB/s",
            "  new 21 GiB (stored as 9.8 GiB), in the repository already 38 GiB, zeros 3 GiB",
            "512 B could not be read and are zeros in the image. `sosei show` lists where.",
            "  report: images/node-a-20261123/report.en.txt",
        ]
    };
    let weights = [Weight::Plain, Weight::Plain, Weight::Warning, Weight::Plain];
    outcome(Weight::Warning, &weights.into_iter().zip(lines).collect::<Vec<_>>())
}

fn cancelled(is_japanese: bool) -> Failure {
    let say = |english: &str, japanese: &str| if is_japanese { japanese } else { english }.to_owned();
    Failure {
        code: "cancelled".into(),
        message: say("Stopped.", "中止しました。"),
        state: say(
            "The image does not exist. What was stored so far is kept in the repository.",
            "イメージはまだありません。ここまでに保存したデータはリポジトリに残っています。",
        ),
        next: say(
            "Run the same again: nothing that is stored is sent twice.",
            "もう一度実行してください。保存済みのデータは再転送しません。",
        ),
        confirm: None,
    }
}

/// All of them.
pub fn states(language: Language, drawing: Drawing) -> Vec<Scene> {
    let ja = language == Language::Japanese;
    let start = || start(language, drawing);
    let with = |mut state: State, keys: &[Key]| {
        // What can be scrolled is known when it has been drawn.
        drawn(&state, 80, 24);
        press(&mut state, keys);
        state
    };
    let told = |mut state: State, event: Event| {
        state.on(event);
        state
    };
    let settings = Settings { can_draw_kanji: false, ..settings() };
    let no_kanji = State::new(Language::English, Look { has_colours: false, drawing }, settings);
    let empty = Repository { location: "/mnt/backup".into(), ..Repository::default() };
    let listing = |task| with(opened(start(), task, ja), &[Key::Enter]);
    let asks = || planned(start(), restore_plan(ja, true), ja);
    let asked_scope = |keys: &[Key]| with(with(asks(), &[Key::Enter]), keys);
    let mut bad = saving(start(), ja);
    bad_disk(&mut bad);
    let counting = session::Event::Began { phase: Phase::Index, total: 310 };
    let counting = told(saving(start(), ja), Event::Session(counting));
    let counting = told(counting, Event::Session(session::Event::Progress { done: 124 }));
    let on_medium = |keys: &[Key]| with(start_on_medium(language, drawing), keys);
    let to_links = [Key::Enter, Key::Down, Key::Enter, Key::Enter, Key::End, Key::Enter];
    let links = |network| told(on_medium(&to_links), Event::Network(network));
    let saved = told(saving(start(), ja), read_in_part(ja));
    let steps: Vec<String> = (1..=30).map(|number| format!("{number:2}-1 drbdadm status r{number}")).collect();
    let steps: Vec<(Weight, &str)> = steps.iter().map(|step| (Weight::Plain, step.as_str())).collect();
    vec![
        state("language without kanji", no_kanji),
        state("target: incomplete", with(form(start(), 0), &[Key::Down, Key::Down, Key::Down, Key::Enter])),
        state("target: USB, nothing attached", told(form(start(), 2), Event::Volumes(Vec::new()))),
        state("target: directory", form(start(), 3)),
        state("target: object storage", with(form(start(), 4), &[Key::Down])),
        state("target: as before", with(told(saving(start(), ja), read_in_part(ja)), &[Key::Enter, Key::Enter])),
        state("image name: new repository", told(form(start(), 3), Event::Opened(empty.clone()))),
        state("image name: goes on", named(start(), "node-b-20261122", ja)),
        state("image name: impossible", named(start(), "a b", ja)),
        state("disks: none", told(with(opened(start(), 0, ja), &[Key::Enter; 4]), Event::Disks(Vec::new()))),
        state("images: none", told(form_of(start(), 2, 3), Event::Opened(empty))),
        state("image in detail", with(opened(start(), 2, ja), &[Key::Character('i')])),
        state("compare", told(listing(5), Event::Disks(disks(ja)))),
        state("scope: one node", asked_scope(&[Key::Down])),
        state("scope: all nodes", asked_scope(&[Key::Down, Key::Down])),
        state(
            "shared disk is overwritten",
            told(with(asked_scope(&[Key::Down]), &[Key::Enter]), Event::Gate(gate(ja))),
        ),
        state(
            "name is typed",
            with(planned(start(), restore_plan(ja, false), ja), &[Key::Enter, Key::Down, Key::Enter]),
        ),
        state("running: reading the index", counting),
        state("running: bad disk", bad),
        state("running: stopping", with(saving(start(), ja), &[Key::Character('c'), Key::Down, Key::Enter])),
        state("restore runs", restoring(start(), ja)),
        state("restore runs: stop", with(restoring(start(), ja), &[Key::Character('c')])),
        state("result: warnings", saved),
        state("result: damage", told(restoring(start(), ja), outcome(Weight::Bad, &[(Weight::Bad, "p2: 1")]))),
        state("result: scrolled", with(told(restoring(start(), ja), outcome(Weight::Plain, &steps)), &[Key::PageDown])),
        state("stopped", told(saving(start(), ja), Event::Failed(cancelled(ja)))),
        state("network: no card", links(Network::default())),
        state("network: DHCP", with(links(network()), &[Key::Enter])),
        state(
            "network: bond",
            with(
                links(network()),
                &[Key::Character(' '), Key::Down, Key::Character(' '), Key::Enter, Key::Down, Key::Down],
            ),
        ),
    ]
}
