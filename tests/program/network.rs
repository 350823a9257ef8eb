//! Keyboard and network of the appliance, set up through the screens, on a cable of its own.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;

use tests::network_scene::{Cable, SERVER};
use tests::terminal::Terminal;
use tests::terminal::key::{DOWN, END, ENTER, UP};

#[test]
fn keyboard_and_network_are_set_up_and_a_server_answers() {
    let mut cable = Cable::new();
    cable.serve_dhcp("198.51.100.9");
    cable.serve_https();
    let keymaps = tempfile::tempdir().unwrap();
    let tables = keymaps.path().join("i386/qwerty");
    std::fs::create_dir_all(&tables).unwrap();
    std::fs::write(tables.join("jp106.kmap.gz"), "").unwrap();
    // The machine that tests has no console; what would be called is written down.
    let (loadkeys, called) = (keymaps.path().join("loadkeys"), keymaps.path().join("called"));
    std::fs::write(&loadkeys, format!("#!/bin/sh\necho \"$@\" > {}\n", called.display())).unwrap();
    std::fs::set_permissions(&loadkeys, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", keymaps.path().display(), cable.path());
    let script = cable.lease_script();
    let environment = [
        ("PATH", path.as_str()),
        ("SOSEI_KEYMAPS", keymaps.path().to_str().unwrap()),
        ("SOSEI_NETWORK", script.to_str().unwrap()),
    ];
    let caller = cable.caller();
    let caller: Vec<&str> = caller.iter().map(String::as_str).collect();
    let terminal = Terminal::open_under(&caller, &[], &environment, 80, 24);

    terminal.at("Choose the language.", &[ENTER]);
    terminal.at("Which keyboard", &[DOWN]);
    terminal.at("> jp106", &[ENTER]);
    terminal.wait_for(&["savedisk"]);
    let called = std::fs::read_to_string(called).unwrap();
    assert_eq!(called.trim(), format!("-q -C /dev/tty1 {}", tables.join("jp106.kmap.gz").display()));

    terminal.press(END);
    terminal.press(UP);
    terminal.press(UP);
    terminal.press(ENTER);
    // By DHCP, as the medium does it itself.
    terminal.at("no address", &[ENTER]);
    terminal.at("Network: card0", &[DOWN, DOWN, ENTER]);
    terminal.wait_for(&["198.51.100.9/24", "Gateway: 198.51.100.1", "Name servers: 198.51.100.1"]);
    // A fixed address. One without its length is refused, and what is there stays.
    terminal.press(ENTER);
    terminal.at("Network: card0", &[" ", DOWN]);
    terminal.at("Address/bits", &["198.51.100.20", DOWN, SERVER, DOWN, DOWN, DOWN, ENTER]);
    terminal.wait_for(&["[network-address]"]);
    assert!(cable.shown(&["address", "show", "dev", "card0"]).contains("198.51.100.9/24"));
    terminal.press(UP);
    terminal.press(UP);
    terminal.press(UP);
    terminal.press(UP);
    terminal.press("/24");
    terminal.press(END);
    for _ in 0..4 {
        terminal.press(DOWN);
    }
    terminal.press(ENTER);
    terminal.wait_for(&["card0", "198.51.100.20/24", "Gateway: 198.51.100.1"]);
    assert!(!cable.shown(&["address", "show", "dev", "card0"]).contains("198.51.100.9"));
    assert!(cable.shown(&["route", "show", "default"]).contains("via 198.51.100.1 dev card0"));

    terminal.press("t");
    terminal.at("Which server?", &[SERVER, ENTER]);
    terminal.wait_for(&["198.51.100.1 answers to ping.", "Port 443 (HTTPS) is open.", "[port-closed]"]);
    terminal.press("\x03");
    terminal.at("End the program?", &[DOWN, ENTER]);
    assert_eq!(terminal.finish(), 0);
}
