//! A TCP proxy between callers and ledger. What a fault does to connections, it does to
//! all that stand, and to those that are made while it lasts.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const CHUNK: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// Connections are reset.
    Cut,
    /// They stand, and nothing passes: half-open. In the end they are reset.
    Silence,
    /// Requests pass, answers do not. In the end the connections are reset.
    LoseAnswers,
}

/// The proxy lives as long as this, and the runtime that it was started on.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    fault: watch::Sender<Option<Fault>>,
}

impl Proxy {
    pub(super) async fn start(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (fault, watched) = watch::channel(None);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let watched = watched.clone();
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(target).await {
                        let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
                        let _ = carry(client, server, watched).await;
                    }
                });
            }
        });
        Ok(Self { address, fault })
    }

    pub(super) fn set(&self, fault: Option<Fault>) {
        self.fault.send_replace(fault);
    }
}

/// Carries bytes until an end closes, or a fault that met this connection is over.
async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    mut watched: watch::Receiver<Option<Fault>>,
) -> std::io::Result<()> {
    let (mut asked, mut answered) = ([0; CHUNK], [0; CHUNK]);
    let mut met = *watched.borrow_and_update();
    while met != Some(Fault::Cut) {
        tokio::select! {
            changed = watched.changed() => {
                if met.is_some() || changed.is_err() {
                    break;
                }
                met = *watched.borrow_and_update();
            }
            read = client.read(&mut asked), if met != Some(Fault::Silence) => match read? {
                0 => return Ok(()),
                n => server.write_all(&asked[..n]).await?,
            },
            read = server.read(&mut answered), if met != Some(Fault::Silence) => match read? {
                0 => return Ok(()),
                _ if met == Some(Fault::LoseAnswers) => {}
                n => client.write_all(&answered[..n]).await?,
            },
        }
    }
    // Nobody is told goodbye: both ends get a reset.
    client.set_zero_linger()?;
    server.set_zero_linger()
}
