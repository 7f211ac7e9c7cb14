//! `tls-floor`: TLS as one writes it with tokio-rustls, on one thread and epoll, and nothing inside of it: every byte comes back.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::sync::Arc;

use perf::options::{Options, pin, raise_file_limit};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The allocator of the subject.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As large as the ring's receive buffers.
const BUFFER_BYTES: usize = 20 * 1024;

fn main() -> io::Result<()> {
    let options = Options::parse(std::env::args().skip(1), &["listen", "cpu"])?;
    if options.text("cpu").is_some() {
        pin(options.value("cpu", 0)?)?;
    }
    raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let local = tokio::task::LocalSet::new();
    let address = options.text("listen").unwrap_or("127.0.0.1:0").to_owned();
    local.block_on(&runtime, serve(address))
}

async fn serve(address: String) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(config()?));
    let listener = TcpListener::bind(address).await?;
    println!("listening on https://{}", listener.local_addr()?);
    io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        tokio::task::spawn_local(async move {
            // A connection that fails is over, and the load tells of it.
            let _ = echo(&acceptor, stream).await;
        });
    }
}

async fn echo(acceptor: &TlsAcceptor, stream: TcpStream) -> io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..length]).await?;
        stream.flush().await?;
    }
}

fn config() -> io::Result<ServerConfig> {
    let made =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())
        .map_err(io::Error::other)?;
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(io::Error::other)
}
