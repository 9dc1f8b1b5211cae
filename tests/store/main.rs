//! One suite for every engine, and what only a real folder can show: the lock, damage, and a killed process.

mod crash;
mod folder;
mod semantics;
