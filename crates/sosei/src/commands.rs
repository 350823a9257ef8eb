//! One module for each command.

pub mod checklist;
pub mod compare;
mod console;
pub mod describe;
pub mod disks;
pub mod identity;
mod images;
mod machine_at_hand;
mod new_names;
pub mod restore;
pub mod save;
mod set;
pub mod show;
pub mod systems;
pub mod verify;

use crate::arguments::{Command, General};
use crate::failure::Failure;
use crate::framebuffer;

/// Does what was asked; returns the exit status.
pub fn run(command: Command, general: &General) -> Result<u8, Failure> {
    match command {
        Command::Disks { disks } => disks::run(&disks, general),
        Command::Save(save) => save::run(&save, general),
        Command::Restore(restore) => restore::run(&restore, general),
        Command::Identity { command } => identity::run(&command, general),
        Command::Images { target } => images::run(&target, general),
        Command::Checklist { target, image, scope, link } => checklist::run(&target, &image, scope, link, general),
        Command::Show { target, image } => show::run(&target, &image, general),
        Command::Set { command } => set::run(&command, general),
        Command::Verify { target, image, quick } => verify::run(&target, image, quick, general),
        Command::Compare { target, image, disks } => compare::run(&target, &image, &disks, general),
        Command::Framebuffer { device, font, command } => framebuffer::run(&device, &font, &command),
    }
}

/// Threads for work that needs the processors.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
