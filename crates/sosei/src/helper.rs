//! Programs of the system that this program starts: none of them needs a password or a key of the environment, and what
//! they pass on, log or leave in a crash is not this program's to watch.

use std::ffi::{OsStr, OsString};
use std::process::Command;

/// How the names of variables begin that hold a password, a key, or the file of one: this program's own, those of the
/// tools of Amazon, and those of `mount.cifs`, which would prefer them to what it is given.
const SECRETS: [&str; 3] = ["SOSEI_PASSWORD", "AWS_", "PASSWD"];

/// A program of the system, with the environment of this one but for its secrets.
pub fn helper(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    hide_secrets(&mut command, std::env::vars_os().map(|(name, _)| name));
    command
}

fn hide_secrets(command: &mut Command, names: impl Iterator<Item = OsString>) {
    let is_secret = |name: &OsString| SECRETS.iter().any(|secret| name.to_string_lossy().starts_with(secret));
    for name in names.filter(is_secret) {
        command.env_remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_the_environment_reach_no_helper() {
        let all = ["SOSEI_PASSWORD", "SOSEI_PASSWORD_FILE", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PASSWD"];
        let mut command = Command::new("env");
        command.env_clear().envs(all.map(|name| (name, "hunter2"))).env("LC_ALL", "C");
        hide_secrets(&mut command, all.into_iter().chain(["LC_ALL"]).map(OsString::from));
        assert_eq!(String::from_utf8(command.output().unwrap().stdout).unwrap(), "LC_ALL=C\n");
        assert_eq!(helper("env").get_program(), "env");
    }
}
