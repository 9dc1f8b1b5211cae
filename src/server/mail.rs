//! Messages to people: queued at once, sent by one task, never part of a request.
//!
//! Codes and addresses stay out of the log, except in mode `log`, which is the log.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lettre::message::Mailbox;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::portal_mail::Desk;
use crate::config::Config;
use crate::config::mail::{Mail as Settings, MailMode, SmtpTls};
use crate::domain::effect::{Message, MessageKind};
use crate::http::portal::texts::Texts;
use crate::telemetry::metrics::MailMetrics;
use crate::vendor::brevo::{Brevo, BrevoMail};

/// Attempts for one message.
const ATTEMPTS: u32 = 3;

/// Pause before the second attempt; the third waits four times as long.
const FIRST_PAUSE: Duration = Duration::from_secs(2);

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// Takes messages and returns at once.
#[derive(Clone)]
pub struct Mailer {
    way: Way,
    product: String,
    web_base: String,
    portal_base: String,
    texts: Arc<Texts>,
    metrics: MailMetrics,
}

#[derive(Clone)]
enum Way {
    Off,
    Log,
    Queue(mpsc::Sender<Letter>),
}

/// The text of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) to: String,
    pub(super) subject: String,
    pub(super) text: String,
    /// The code or link in it, if any: what mode `log` shows.
    pub(super) code: Option<String>,
    /// Where its receiver asks for no more of them.
    pub(super) unsubscribe: Option<String>,
}

impl Mailer {
    /// The mailer of these settings, and in modes `smtp` and `brevo` the task that sends; it ends once every [`Mailer`]
    /// is gone and the queue is empty.
    pub fn start(
        config: &Config,
        texts: Arc<Texts>,
        metrics: MailMetrics,
    ) -> anyhow::Result<(Self, Option<JoinHandle<()>>)> {
        let (way, task) = match config.mail.mode {
            MailMode::Off => (Way::Off, None),
            MailMode::Log => {
                tracing::warn!("mail.mode is \"log\": codes and links are written to this log, for a lab only");
                (Way::Log, None)
            }
            MailMode::Smtp | MailMode::Brevo => {
                let (queue, letters) = mpsc::channel(config.mail.queue);
                let from = sender(&config.mail)?;
                let sender = match config.mail.mode {
                    MailMode::Brevo => Sender::Brevo { brevo: Brevo::new(&config.brevo)?, from },
                    _ => Sender::Smtp { transport: transport(&config.mail)?, from },
                };
                (Way::Queue(queue), Some(tokio::spawn(sender.run(letters, metrics.clone()))))
            }
        };
        let (product, web_base) = (config.mail.product.clone(), config.auth.web_base.clone());
        let portal_base = config.portal_base().to_owned();
        Ok((Self { way, product, web_base, portal_base, texts, metrics }, task))
    }

    /// Takes one message; drops and counts it when too many wait.
    pub fn send(&self, message: &Message) {
        let letter = self.letter(message);
        match &self.way {
            Way::Off => {}
            Way::Log => {
                let code = letter.code.unwrap_or_default();
                tracing::info!(to = %letter.to, subject = %letter.subject, code = %code, "mail");
                self.metrics.sent.inc();
            }
            Way::Queue(queue) => {
                if queue.try_send(letter).is_err() {
                    tracing::warn!("a message was dropped: mail.queue messages are waiting already");
                    self.metrics.dropped.inc();
                }
            }
        }
    }

    fn letter(&self, message: &Message) -> Letter {
        let product = &self.product;
        let (subject, text, code) = match &message.kind {
            MessageKind::VerifyCode(code) => (
                format!("{product}: your verification code"),
                format!("Your verification code is {code}\n\nIf you did not ask for it, ignore this message.\n"),
                Some(code.clone()),
            ),
            MessageKind::ResetCode(code) => {
                let link = format!("{}/?resetCode={code}", self.web_base.trim_end_matches('/'));
                let text = format!(
                    "To set a new password, open\n\n{link}\n\nor enter this code: {code}\n\n\
                     If you did not ask for it, ignore this message.\n"
                );
                (format!("{product}: reset your password"), text, Some(link))
            }
            MessageKind::PasswordChanged => (
                format!("{product}: your password was changed"),
                "Your password was changed. If that was not you, reset it now.\n".into(),
                None,
            ),
            MessageKind::Portal(mail) => {
                let desk = Desk { texts: &self.texts, base: &self.portal_base, product };
                return desk.write(&message.to, mail);
            }
            MessageKind::BalanceCode { code, item } => (
                format!("{product}: your code"),
                format!("Thank you. Your code for {item} is\n\n{code}\n\nRedeem it in the app.\n"),
                Some(code.clone()),
            ),
        };
        Letter { to: message.to.clone(), subject, text, code, unsubscribe: None }
    }
}

/// The task behind modes `smtp` and `brevo`.
enum Sender {
    Smtp { transport: Transport, from: Mailbox },
    Brevo { brevo: Brevo, from: Mailbox },
}

impl Sender {
    async fn run(self, mut letters: mpsc::Receiver<Letter>, metrics: MailMetrics) {
        while let Some(letter) = letters.recv().await {
            match self.deliver(&letter).await {
                Ok(()) => metrics.sent.inc(),
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "a message could not be sent");
                    metrics.failed.inc()
                }
            };
        }
    }

    async fn deliver(&self, letter: &Letter) -> anyhow::Result<()> {
        let to: Mailbox = letter.to.parse().ok().context("the recipient is not a mail address")?;
        match self {
            Self::Smtp { transport, from } => deliver_smtp(transport, (from, to), letter).await,
            Self::Brevo { brevo, from } => {
                let (name, address) = (from.name.as_deref().unwrap_or_default(), from.email.to_string());
                let to = to.email.to_string();
                let Letter { subject, text, unsubscribe, .. } = letter;
                let unsubscribe = unsubscribe.as_deref();
                Ok(brevo.send(BrevoMail { from: (name, &address), to: &to, subject, text, unsubscribe }).await?)
            }
        }
    }
}

/// Where mail programs ask for no more letters (RFC 2369).
#[derive(Clone)]
struct ListUnsubscribe(String);

impl Header for ListUnsubscribe {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("List-Unsubscribe")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.into()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

/// They may ask without showing a page (RFC 8058).
#[derive(Clone)]
struct OneClick;

impl Header for OneClick {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("List-Unsubscribe-Post")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "List-Unsubscribe=One-Click".into())
    }
}

async fn deliver_smtp(transport: &Transport, (from, to): (&Mailbox, Mailbox), letter: &Letter) -> anyhow::Result<()> {
    let mut mail = lettre::Message::builder().from(from.clone()).to(to).subject(&letter.subject);
    if let Some(link) = &letter.unsubscribe {
        mail = mail.header(ListUnsubscribe(format!("<{link}>"))).header(OneClick);
    }
    let mail = mail.body(letter.text.clone()).context("the message cannot be put together")?;
    let mut pause = FIRST_PAUSE;
    for attempt in 1.. {
        match transport.send(mail.clone()).await {
            Ok(_) => break,
            Err(error) if attempt == ATTEMPTS || error.is_permanent() => {
                // The server's own words may repeat the address, so they stay below the warning.
                tracing::debug!(%error, attempt, "the mail server refused");
                anyhow::bail!("the mail server did not take it in {attempt} attempts");
            }
            Err(error) => tracing::debug!(%error, attempt, "the mail server did not take a message yet"),
        }
        sleep(pause).await;
        pause *= 4;
    }
    Ok(())
}

fn sender(settings: &Settings) -> anyhow::Result<Mailbox> {
    let address = settings.from.parse().with_context(|| format!("mail.from is not an address: {}", settings.from))?;
    Ok(Mailbox::new(Some(settings.product.clone()), address))
}

fn transport(settings: &Settings) -> anyhow::Result<Transport> {
    let parameters = || {
        TlsParameters::new(settings.smtp_host.clone())
            .with_context(|| format!("mail.smtp_host {} cannot be used with TLS", settings.smtp_host))
    };
    let tls = match settings.smtp_tls {
        SmtpTls::Starttls => Tls::Required(parameters()?),
        SmtpTls::Tls => Tls::Wrapper(parameters()?),
        SmtpTls::None => Tls::None,
    };
    let mut builder = Transport::builder_dangerous(&settings.smtp_host)
        .port(settings.smtp_port)
        .tls(tls)
        .timeout(Some(settings.timeout));
    if !settings.smtp_user.is_empty() {
        let credentials = Credentials::new(settings.smtp_user.clone(), settings.smtp_password.clone());
        builder = builder.credentials(credentials);
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::domain::portal::mail::{Letter as PortalLetter, PortalMail};
    use crate::vendor::testing::Mock;

    fn texts() -> Arc<Texts> {
        Arc::new(Texts::open(std::path::Path::new(""), "en").unwrap())
    }

    fn message(kind: MessageKind) -> Message {
        Message { to: "ada@hill.example".into(), kind }
    }

    #[test]
    fn a_reset_carries_the_link_and_the_bare_code() {
        let (mailer, task) = Mailer::start(&Config::default(), texts(), MailMetrics::default()).unwrap();
        assert!(task.is_none());
        let letter = mailer.letter(&message(MessageKind::ResetCode("abc".into())));
        assert_eq!(letter.code.as_deref(), Some("http://127.0.0.1:8080/?resetCode=abc"));
        assert!(letter.text.contains("code: abc"));
    }

    /// A mail server that takes one message and hands back what it was told.
    async fn mail_server(listener: TcpListener) -> String {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 ready\r\n").await.unwrap();
        let (mut told, mut is_text) = (String::new(), false);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap() == 0 {
                return told;
            }
            told.push_str(&line);
            let answer = match line.trim_end() {
                "." => "250 taken\r\n",
                "DATA" => "354 go on\r\n",
                "QUIT" => return told,
                _ if is_text => continue,
                _ => "250 fine\r\n",
            };
            is_text = line.trim_end() == "DATA";
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn smtp_delivers_and_a_phone_number_is_a_counted_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::default();
        config.mail.mode = MailMode::Smtp;
        config.mail.smtp_host = "127.0.0.1".into();
        config.mail.smtp_port = listener.local_addr().unwrap().port();
        config.mail.smtp_tls = SmtpTls::None;
        config.mail.from = "warren@hill.example".into();
        let server = tokio::spawn(mail_server(listener));
        let metrics = MailMetrics::default();
        let (mailer, task) = Mailer::start(&config, texts(), metrics.clone()).unwrap();
        mailer.send(&Message { to: "+442079460000".into(), kind: MessageKind::PasswordChanged });
        mailer.send(&message(MessageKind::VerifyCode("123456".into())));
        drop(mailer);
        task.unwrap().await.unwrap();
        assert_eq!((metrics.sent.get(), metrics.failed.get()), (1, 1));
        let told = server.await.unwrap();
        assert!(told.contains("RCPT TO:<ada@hill.example>") && told.contains("123456"), "{told}");
    }

    #[tokio::test]
    async fn letters_of_the_website_say_how_to_get_no_more_and_nobody_adds_a_header() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::default();
        config.mail.mode = MailMode::Smtp;
        config.mail.smtp_host = "127.0.0.1".into();
        config.mail.smtp_port = listener.local_addr().unwrap().port();
        config.mail.smtp_tls = SmtpTls::None;
        config.mail.from = "warren@hill.example".into();
        config.portal.base_url = "https://account.hill.example".into();
        let server = tokio::spawn(mail_server(listener));
        let metrics = MailMetrics::default();
        let (mailer, task) = Mailer::start(&config, texts(), metrics.clone()).unwrap();
        let letter = |to: &str| {
            let letter = PortalLetter::ResetPassword { code: "c0de".into() };
            let mail = PortalMail { letter, language: "en".into(), opt_out_code: "abc".into() };
            Message { to: to.into(), kind: MessageKind::Portal(Box::new(mail)) }
        };
        mailer.send(&letter("ada@hill.example\r\nBcc: evil@hill.example"));
        mailer.send(&letter("ada@hill.example"));
        drop(mailer);
        task.unwrap().await.unwrap();
        assert_eq!((metrics.sent.get(), metrics.failed.get()), (1, 1));
        let told = server.await.unwrap();
        let headers = told.split_once("DATA").unwrap().1.split_once("\r\n\r\n").unwrap().0.replace("\r\n ", " ");
        assert!(headers.contains("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click"), "{headers}");
        assert!(headers.contains("\r\nList-Unsubscribe: <https://account.hill.example/do-not-email?"), "{headers}");
        assert!(!headers.to_lowercase().contains("\nbcc:"), "{headers}");
        assert_eq!(told.matches("RCPT TO").count(), 1);
    }

    #[tokio::test]
    async fn brevo_takes_the_same_messages() {
        let mock = Mock::start("brevo/server", &[]).await;
        let mut config = Config::default();
        config.mail.mode = MailMode::Brevo;
        config.mail.from = "warren@hill.example".into();
        config.brevo.api_key = "key-1".into();
        config.brevo.base_url = format!("{}/v3/", mock.base_url);
        let metrics = MailMetrics::default();
        let (mailer, task) = Mailer::start(&config, texts(), metrics.clone()).unwrap();
        mailer.send(&Message { to: "+442079460000".into(), kind: MessageKind::PasswordChanged });
        mailer.send(&message(MessageKind::VerifyCode("123456".into())));
        drop(mailer);
        task.unwrap().await.unwrap();
        assert_eq!((metrics.sent.get(), metrics.failed.get()), (1, 1));
        mock.finish();
        assert!(mock.bodies()[0]["textContent"].as_str().unwrap().contains("123456"));
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts() {
        let mut config = Config::default();
        config.mail.mode = MailMode::Smtp;
        config.mail.queue = 1;
        let metrics = MailMetrics::default();
        let (mailer, _task) = Mailer::start(&config, texts(), metrics.clone()).unwrap();
        for _ in 0..3 {
            mailer.send(&message(MessageKind::PasswordChanged));
        }
        assert_eq!(metrics.dropped.get(), 2);
    }
}
