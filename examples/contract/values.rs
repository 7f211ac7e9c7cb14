//! Values of which nothing is known before: what clients send, binary included, and what is passed on to others.

use std::collections::BTreeMap;

use ringhall::Binary;
use serde::{Deserialize, Serialize};

/// Anything that a client can send.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    Binary(Binary),
    List(Vec<Value>),
    Object(BTreeMap<String, Value>),
}

/// The name of a room, or a list of such.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn into_vec(self) -> Vec<String> {
        match self {
            OneOrMany::One(name) => vec![name],
            OneOrMany::Many(names) => names,
        }
    }
}
