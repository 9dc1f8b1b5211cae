//! The TLS handshake, by rustls; what follows it is ours.
//!
//! rustls sees whole records, one more each time it asks, so that nothing behind the handshake ends up in its memory.

use std::io;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, InsufficientSizeError, UnbufferedStatus};
use rustls::{Error, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::record::record_length;
use super::secret::{SecretTap, TrafficSecrets};
use super::stream::{self, Agreed, TlsReader, TlsWriter};
use crate::relay::turns::Turns;

/// What a client may send before it is understood; a message of a handshake is at most 64 KiB.
const MAX_INPUT_BYTES: usize = 80 * 1024;
/// Read at once; a hello is shorter.
const READ_BYTES: usize = 4 * 1024;

/// A connection whose handshake is done.
pub struct Accepted<R, W> {
    /// What the client says.
    pub reader: TlsReader<R>,
    /// What it is told.
    pub writer: TlsWriter<W>,
    /// What it showed.
    pub certificate: Option<CertificateDer<'static>>,
}

/// What the handshake needs next.
enum Step {
    Again,
    Write,
    Read,
    Fail(Error),
}

/// Shakes hands with a client. It computes only in its turn, and waits for the client outside of it.
pub async fn accept<R, W>(
    config: &Arc<ServerConfig>,
    turns: &Turns,
    mut read: R,
    mut write: W,
) -> io::Result<Accepted<R, W>>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut connection = UnbufferedServerConnection::new(Arc::clone(config)).map_err(broken)?;
    let (mut input, mut output) = (Vec::new(), Vec::new());
    // What rustls may look at is `input[..shown]`.
    let mut shown = 0;
    let mut turn = None;
    let mut secrets = TrafficSecrets::default();
    loop {
        let UnbufferedStatus { discard, state, .. } = connection.process_tls_records(&mut input[..shown]);
        let step = match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut data, &mut output).map_err(broken)?;
                Step::Again
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Step::Write
            }
            Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => Step::Read,
            Ok(_) => Step::Fail(Error::HandshakeNotComplete),
            Err(error) => Step::Fail(error),
        };
        SecretTap::take(&mut secrets);
        input.drain(..discard);
        shown -= discard;
        match step {
            Step::Again => {}
            // Tickets. The client is connected without them, and may not read before it has said something.
            Step::Write if !connection.is_handshaking() && is_new(&connection) => {}
            Step::Write => {
                drop(turn.take());
                write.write_all(&output).await?;
                output.clear();
            }
            Step::Read if connection.is_handshaking() => {
                drop(turn.take());
                shown = next_record(&mut read, &mut input, shown).await?;
                turn = Some(turns.take().await);
            }
            Step::Read => break,
            Step::Fail(error) => {
                drop(turn.take());
                // The alert says why, if anybody is listening.
                if let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process_tls_records(&mut []).state
                    && encode(&mut data, &mut output).is_ok()
                {
                    let _ = write.write_all(&output).await;
                }
                return Err(broken(error));
            }
        }
    }
    let certificate =
        connection.peer_certificates().and_then(|chain| chain.first()).cloned().map(CertificateDer::into_owned);
    let (keys, connection) = connection.dangerous_into_kernel_connection().map_err(broken)?;
    let (version, suite) = (connection.protocol_version(), connection.negotiated_cipher_suite());
    let agreed = Agreed { version, suite, keys, secrets };
    let (reader, writer) = stream::after_handshake(agreed, (read, &input), (write, output)).map_err(broken)?;
    Ok(Accepted { reader, writer, certificate })
}

/// Whether this is TLS 1.3, where the client has the last word of a handshake.
fn is_new(connection: &UnbufferedServerConnection) -> bool {
    connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
}

/// Shows one record more, which is read when it has not come; says how much is shown then.
async fn next_record(read: &mut (impl AsyncRead + Unpin), input: &mut Vec<u8>, shown: usize) -> io::Result<usize> {
    loop {
        match record_length(&input[shown..]) {
            Ok(Some(length)) => return Ok(shown + length),
            Ok(None) if input.len() > MAX_INPUT_BYTES => return Err(broken(Error::PeerSentOversizedRecord)),
            Ok(None) => {
                input.reserve(READ_BYTES);
                // So little that what is behind the handshake fits a buffer.
                if (&mut *read).take(READ_BYTES as u64).read_buf(input).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            // rustls finds the right words for what this is.
            Err(_) => return Ok(input.len()),
        }
    }
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, output: &mut Vec<u8>) -> Result<(), Error> {
    let start = output.len();
    let length = match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
            output.resize(start + required_size, 0);
            data.encode(&mut output[start..])
        }
        other => other,
    };
    match length {
        Ok(length) => {
            output.truncate(start + length);
            Ok(())
        }
        Err(error) => Err(Error::General(error.to_string())),
    }
}

/// A TLS error of a stream.
pub fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
