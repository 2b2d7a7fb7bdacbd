//! Logs on a disk in memory: what is appended, read, rolled, removed and recovered.

mod appending;
mod cleaning;
mod cleaning_model;
mod model;
mod moving;
mod reading;
mod recovering;
mod removing;
mod support;
