//! `keepsafe start`

use std::net::ToSocketAddrs;
use std::path::PathBuf;

use keepsafe::kv::embedded::DEFAULT_CACHE_BYTES;
use keepsafe::node::{Config, Node};
use keepsafe::server::Server;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Where to keep things and where to listen.
#[derive(clap::Args)]
pub struct Arguments {
    /// Directory of the store; created if it is not there
    #[arg(long, default_value = "./keepsafe-data")]
    store: PathBuf,
    /// Address for Postgres clients; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:26257")]
    listen: String,
    /// Address for HTTP: /health and /_status/vars
    #[arg(long, default_value = "127.0.0.1:8080")]
    http: String,
    /// Directory of nodelocal:// files, or "disabled"; <store>/extern unless given
    #[arg(long)]
    external_io_dir: Option<PathBuf>,
    /// Size of the store's cache, in MiB
    #[arg(long, default_value_t = (DEFAULT_CACHE_BYTES >> 20) as u32, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    cache: u32,
    /// Where this node is, such as region=us-east,az=a
    #[arg(long, default_value = "")]
    locality: String,
    /// Directory of TLS certificates (not supported in this version)
    #[arg(long)]
    certs_dir: Option<PathBuf>,
    /// Serve other machines without TLS
    #[arg(long)]
    insecure: bool,
    /// What to log to standard error: error, warn, info, debug, trace
    #[arg(long, default_value = "warn")]
    log: String,
}

/// Serves until SIGTERM or Ctrl-C.
pub async fn run(arguments: Arguments) -> Result<(), String> {
    let filter = EnvFilter::try_new(&arguments.log).map_err(|error| format!("--log: {error}"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if arguments.certs_dir.is_some() {
        return Err("--certs-dir is not supported in this version".into());
    }
    if !arguments.insecure {
        refuse_public(&arguments.listen)?;
        refuse_public(&arguments.http)?;
    }
    let external_io_dir = match arguments.external_io_dir {
        None => Some(arguments.store.join("extern")),
        Some(directory) if directory.as_os_str() == "disabled" => None,
        Some(directory) => Some(directory),
    };
    let cache_bytes = u64::from(arguments.cache) << 20;
    let config = Config { store: arguments.store, external_io_dir, locality: arguments.locality, cache_bytes };
    let node = Node::open(&config).await.map_err(|error| error.to_string())?;
    let server = Server::bind(node.engine().clone(), &arguments.listen, Some(&arguments.http)).await;
    let server = server.map_err(|error| error.to_string())?;
    let address = server.address().map_err(|error| error.to_string())?;
    println!("keepsafe ready: postgresql://root@{address}/defaultdb");
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server.run(stopped));
    wait_for_signal().await?;
    tracing::info!("stopping");
    node.stop_jobs();
    stop.send_replace(true);
    serving.await.map_err(|error| error.to_string())?;
    node.close().await.map_err(|error| error.to_string())
}

async fn wait_for_signal() -> Result<(), String> {
    let listen = |kind| signal(kind).map_err(|error| format!("cannot wait for signals: {error}"));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Without TLS a password or a row would cross the network readable.
fn refuse_public(address: &str) -> Result<(), String> {
    let resolved = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?;
    for found in resolved {
        if !found.ip().is_loopback() {
            return Err(format!(
                "{address} is not a loopback address; other machines are served without TLS only with --insecure"
            ));
        }
    }
    Ok(())
}
