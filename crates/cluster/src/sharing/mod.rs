//! Whether a disk is used by another machine too: what was seen, what follows from it, and what an operator has to say
//! before it is saved or overwritten.
//!
//! A shared disk can't be told from a local one by a single sign: disks that a machine boots from may be in a storage
//! network, and local ones may carry marks of a cluster that is long gone. So every sign is kept with its proof
//! ([`Evidence`]), all of them together give a class ([`Class`]), and each class has its gates ([`Gate`]).
mod assessment;
mod class;
mod evidence;
mod gate;
mod named;
#[cfg(test)]
mod tests;

pub use assessment::{Assessment, Finding};
pub use class::Class;
pub use evidence::{Evidence, Holder, ReservationKind};
pub use gate::{Gate, Lock, Purpose, gate};
pub use named::Witnesses;
