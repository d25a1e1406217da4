//! One module for each thing a person can ask for. None of them prints: they give a
//! [`crate::terminal::Report`] back, so that tests can call them as the program does.

pub mod agent;
pub mod create;
pub mod credit;
pub mod data;
pub mod db;
pub mod delete;
pub mod device;
pub mod init;
pub mod open;
pub mod pals;
pub mod receipts;
pub mod roster;
pub mod top_up;
