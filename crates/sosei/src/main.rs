//! Sosei (蘇生): images the used blocks of a server's disks and brings the server back from them.
//!
//! This binary is the command line: it reads what is asked, opens disks and targets, lets the
//! `session` crate do the work, and tells the operator what happened, in what state things are, and
//! what to do next.
#![forbid(unsafe_code)]

mod account;
mod arguments;
mod commands;
mod confirm;
mod disks;
mod failure;
mod framebuffer;
mod helper;
mod keyboard;
mod language;
mod machine;
mod network;
mod operator;
mod output;
mod progress;
mod report;
mod safety;
mod screens;
mod sharing;
mod signals;
mod target;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

rust_i18n::i18n!("locales", fallback = "en");

fn main() -> ExitCode {
    keep_memory_from_files();
    language::use_language_of_the_system();
    let arguments = match arguments::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // A program that asked for a document gets one, whatever is wrong with the rest of its call.
            if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
                failure::Failure::usage("usage", error.to_string().trim()).print_document();
                return ExitCode::from(failure::WRONG_USAGE);
            }
            // Help and version are no error; what is wrong with a call goes to standard error.
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::from(failure::DONE);
            }
            return ExitCode::from(failure::WRONG_USAGE);
        }
    };
    if let Some(language) = arguments.general.lang {
        language::use_language(language);
    }
    let json = arguments.general.json;
    let done = match arguments.command {
        Some(command) if arguments.disks.is_empty() => commands::run(command, &arguments.general),
        Some(_) => Err(failure::Failure::usage("usage", &language::t!("failure.disk_option"))),
        None if screens::can_open() && !json => screens::run(arguments.disks, arguments.general.credentials),
        None => {
            let help = arguments::Arguments::command().render_help();
            if json {
                failure::Failure::usage("usage", help.to_string().trim()).print_document();
            } else {
                eprint!("{help}");
            }
            return ExitCode::from(failure::WRONG_USAGE);
        }
    };
    match done {
        // What was asked for was done, but whoever asked can't know.
        Ok(failure::DONE) if !output::has_arrived() => ExitCode::from(failure::FAILED),
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            failure.print(json);
            ExitCode::from(failure.status)
        }
    }
}

/// Passwords and keys lie in memory: where the program crashes, no file and no other program gets a copy of it.
fn keep_memory_from_files() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    // Each alone helps; a system that knows neither makes no such copies.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}
