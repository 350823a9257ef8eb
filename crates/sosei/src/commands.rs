//! One module for each command.

mod checklist;
mod compare;
mod console;
mod describe;
mod disks;
mod identity;
mod images;
mod machine_at_hand;
mod restore;
mod save;
mod set;
mod show;
mod systems;
mod verify;

use crate::arguments::{Arguments, Command};
use crate::failure::Failure;

/// Does what was asked; returns the exit status.
pub fn run(arguments: Arguments) -> Result<u8, Failure> {
    let general = arguments.general;
    match arguments.command {
        Command::Disks { disks } => disks::run(&disks, general),
        Command::Save(save) => save::run(&save, general),
        Command::Restore(restore) => restore::run(&restore, general),
        Command::Identity { command } => identity::run(&command, general),
        Command::Images { target } => images::run(&target, general),
        Command::Checklist { target, image, scope } => checklist::run(&target, &image, scope, general),
        Command::Show { target, image } => show::run(&target, &image, general),
        Command::Set { command } => set::run(&command, general),
        Command::Verify { target, image, quick } => verify::run(&target, image, quick, general),
        Command::Compare { target, image, disks } => compare::run(&target, &image, &disks, general),
    }
}

/// Threads for work that needs the processors.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
