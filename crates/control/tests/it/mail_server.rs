//! A mail server in this process, which keeps what it is told.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// How it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// In the clear.
    Plain,
    /// In the clear until it is asked for TLS.
    StartTls,
    /// By TLS from the start.
    Implicit,
}

/// What was said to it: whole mails, and what was said before a connection ended.
#[derive(Debug)]
pub(crate) enum Said {
    Mail(String),
    /// Without a mail.
    Left(String),
}

/// Takes one connection after the other. Gives its port and what was said.
pub(crate) async fn start(manner: Manner, tls: Option<Arc<ServerConfig>>) -> (u16, UnboundedReceiver<Said>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, said) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = tls.clone().map(TlsAcceptor::from);
            let greeting = Some("220 mail.test ESMTP\r\n");
            match (manner, acceptor) {
                (Manner::Implicit, Some(acceptor)) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        converse(stream, greeting, false, &sender).await;
                    }
                }
                (Manner::StartTls, Some(acceptor)) => {
                    if let Some(stream) = converse(stream, greeting, true, &sender).await
                        && let Ok(stream) = acceptor.accept(stream).await
                    {
                        converse(stream, None, false, &sender).await;
                    }
                }
                _ => drop(converse(stream, greeting, false, &sender).await),
            }
        }
    });
    (port, said)
}

/// Talks until the other side leaves; gives the stream back if it wants TLS now.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    greeting: Option<&str>,
    offers_tls: bool,
    said: &UnboundedSender<Said>,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    stream.write_all(greeting.unwrap_or_default().as_bytes()).await.ok()?;
    let (mut got, mut in_data) = (String::new(), false);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            let _ = said.send(Said::Left(got));
            return None;
        }
        let line = line.trim_end();
        got += &format!("{line}\n");
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let reply = match (in_data, verb.as_str(), line) {
            (true, _, ".") => {
                in_data = false;
                let _ = said.send(Said::Mail(std::mem::take(&mut got)));
                "250 taken\r\n"
            }
            (true, _, _) => continue,
            (false, "DATA", _) => {
                in_data = true;
                "354 go on\r\n"
            }
            (false, "EHLO", _) if offers_tls => "250-mail.test\r\n250 STARTTLS\r\n",
            (false, "EHLO", _) => "250-mail.test\r\n250 AUTH PLAIN\r\n",
            (false, "STAR", _) if offers_tls => {
                stream.write_all(b"220 go on\r\n").await.ok()?;
                return Some(stream.into_inner());
            }
            (false, "STAR", _) => "502 not here\r\n",
            (false, "AUTH", _) => "235 welcome\r\n",
            (false, "QUIT", _) => "221 bye\r\n",
            _ => "250 ok\r\n",
        };
        stream.write_all(reply.as_bytes()).await.ok()?;
    }
}

/// The next mail; what was said without one is passed over.
pub(crate) async fn next_mail(said: &mut UnboundedReceiver<Said>) -> String {
    let next = async {
        loop {
            if let Said::Mail(mail) = said.recv().await.unwrap() {
                return mail;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), next)
        .await
        .unwrap()
}
