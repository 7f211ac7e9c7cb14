//! What stands for TLS in a build without the feature `tls`: the same names, of which there can be no value.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use super::{Problem, Source, State};

#[derive(Debug)]
pub(crate) enum Error {}

impl fmt::Display for Error {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) struct Records(Infallible);

impl Records {
    pub(crate) fn is_handshaking(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn receive(
        &mut self,
        _: &mut [u8],
        _: &mut Vec<u8>,
        _: &mut Vec<u8>,
    ) -> Result<State, Error> {
        match self.0 {}
    }

    pub(crate) fn encrypt(&mut self, _: &[u8], _: &mut Vec<u8>) -> Result<(), Error> {
        match self.0 {}
    }

    pub(crate) fn close_notify(&mut self, _: &mut Vec<u8>) {
        match self.0 {}
    }
}

#[derive(Debug)]
pub(crate) struct Certificates(Infallible);

impl Certificates {
    pub(crate) fn load(_: Source) -> Result<Arc<Certificates>, Problem> {
        Err(Problem {
            setting: "tls_cert",
            text: "is given, and this build has no TLS: it needs the cargo feature `tls`"
                .to_owned(),
        })
    }
}

pub(crate) struct Acceptor(Infallible);

impl Acceptor {
    pub(crate) fn new(certificates: Arc<Certificates>) -> Acceptor {
        match certificates.0 {}
    }

    pub(crate) fn accept(&mut self) -> Result<Records, Error> {
        match self.0 {}
    }
}

pub(crate) fn watch(_: &[Arc<Certificates>]) -> std::io::Result<()> {
    Ok(())
}
