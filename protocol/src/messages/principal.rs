//! The principal inside an Envelope, as a broker names it to the controller.
//!
//! - `DefaultPrincipalData`: version 0, flexible

use strandline_protocol_derive::Wire;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "data", versions = 0, flexible = 0..)]
pub struct DefaultPrincipalData {
    #[wire(name = "Type")]
    pub kind: String,
    pub name: String,
    pub token_authenticated: bool,
}
