//! What is asked of the machine itself: programs, processes, waiting, locks, and lines that say how far we are.

pub mod command;
pub mod files;
pub mod process;
pub mod progress;
pub mod wait;
