//! `cloudpal open`.
