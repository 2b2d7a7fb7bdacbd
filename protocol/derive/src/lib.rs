//! `#[derive(Wire)]`: the struct is the specification of its bytes.
//!
//! From the attributes of a struct and its fields this writes `Default`, decode, encode and `SPEC`; nothing is stated twice.
//!
//! A top-level definition says `#[wire(kind = "request", key = 0, versions = 3..=13, flexible = 9..)]`; `flexible = none` means
//! never, and `name` gives Kafka's name where it is not the struct's. A nested struct needs no attribute.
//!
//! A field says only what differs from "there in every version, never null, zero by default":
//! - `versions = 3..`, `..=12`, `7..=12` or `4`: the versions that have it;
//! - `nullable` or `nullable = 7..`: where null may stand; the type is an `Option`;
//! - `default = null`, `-1` or `true`: its value where a message does not carry it;
//! - `tag = 0`, and `tagged = 5..` if it stands among the tagged fields only in some of its versions;
//! - `flexible = none`: it keeps its old length prefix in flexible versions;
//! - `ignorable`: Kafka's word that its value may be dropped silently where a version lacks it;
//! - `name = "leaderEpoch"`: Kafka's name where upper camel case does not give it.

mod attributes;
mod expand;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

#[proc_macro_derive(Wire, attributes(wire))]
pub fn wire(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
