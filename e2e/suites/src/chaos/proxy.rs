//! A TCP proxy between a caller and what it calls. What a fault does to connections, it does to
//! all that stand, and to those that are made while it lasts.

use std::net::SocketAddr;
use std::time::Duration;

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
    /// Half of what is asked next passes, then the connection is reset.
    Tear,
    /// What passes, passes late.
    Delay,
    /// The caller's end is reset, and what it asked arrives all the same, when whoever asks
    /// what became of it has been told that nobody knows it.
    Overtake,
}

/// Each piece is late by so much.
const LATE: Duration = Duration::from_millis(300);
/// What was overtaken arrives so much later, and has this time to take effect.
const OVERTAKEN_BY: Duration = Duration::from_secs(3);

/// The proxy lives as long as this, and the runtime that it was started on.
pub struct Proxy {
    pub address: SocketAddr,
    fault: watch::Sender<Option<Fault>>,
}

impl Proxy {
    /// Its connections go to the targets in turn, past those that take none, as a
    /// Service's do.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub async fn start(targets: Vec<SocketAddr>) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (fault, watched) = watch::channel(None);
        tokio::spawn(async move {
            let mut turn = targets;
            while let Ok((client, _)) = listener.accept().await {
                let (watched, order) = (watched.clone(), turn.clone());
                turn.rotate_left(1);
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(order.as_slice()).await {
                        let _ = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
                        let _ = carry(client, server, watched).await;
                    }
                });
            }
        });
        Ok(Self { address, fault })
    }

    pub fn set(&self, fault: Option<Fault>) {
        self.fault.send_replace(fault);
    }
}

async fn late(met: Option<Fault>) {
    if met == Some(Fault::Delay) {
        tokio::time::sleep(LATE).await;
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
                if changed.is_err() || met.is_some_and(|met| met != Fault::Delay) {
                    break;
                }
                met = *watched.borrow_and_update();
            }
            read = client.read(&mut asked), if met != Some(Fault::Silence) => match read? {
                0 => return Ok(()),
                n if met == Some(Fault::Tear) => {
                    server.write_all(&asked[..n / 2]).await?;
                    break;
                }
                n if met == Some(Fault::Overtake) => {
                    client.set_zero_linger()?;
                    drop(client);
                    tokio::time::sleep(OVERTAKEN_BY).await;
                    server.write_all(&asked[..n]).await?;
                    tokio::time::sleep(OVERTAKEN_BY).await;
                    return Ok(());
                }
                n => {
                    late(met).await;
                    server.write_all(&asked[..n]).await?;
                }
            },
            read = server.read(&mut answered), if met != Some(Fault::Silence) => match read? {
                0 => return Ok(()),
                _ if met == Some(Fault::LoseAnswers) => {}
                n => {
                    late(met).await;
                    client.write_all(&answered[..n]).await?;
                }
            },
        }
    }
    // Nobody is told goodbye: both ends get a reset.
    client.set_zero_linger()?;
    server.set_zero_linger()
}
