//! Arguments whose number is not known before.

#![forbid(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeTuple, Serializer};

use super::arguments::ANY_LEN;

/// Any number of arguments of one type: what `...args` is in JavaScript. Where a tuple has a fixed number of arguments, and a `Vec` is one
/// argument, this is all of them, in events, in acknowledgements, and in answers.
///
/// To pass arguments on as they came without reading them, take a [`Payload`](crate::Payload).
///
/// ```
/// use ringhall::{ArgList, Data, Server, Socket};
///
/// let builder = Server::builder().on("sum", |Data(ArgList(numbers)): Data<ArgList<f64>>| {
///     numbers.iter().sum::<f64>() // socket.emit("sum", 1, 2, 3, (sum) => …)
/// });
/// # let _ = builder;
/// # fn f(socket: &Socket) {
/// socket.emit("winners", ArgList(vec!["Ada", "Grace"])); // socket.on("winners", (first, second) => …)
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArgList<T>(pub Vec<T>);

impl<T: Serialize> Serialize for ArgList<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for value in &self.0 {
            tuple.serialize_element(value)?;
        }
        tuple.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ArgList<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(ANY_LEN, Elements(PhantomData))
    }
}

struct Elements<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
    type Value = ArgList<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<ArgList<T>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = elements.next_element()? {
            values.push(value);
        }
        Ok(ArgList(values))
    }
}
