//! Brevo: mail to people, and the list of those who want to hear of news (`https://developers.brevo.com/reference`).

use futures_util::future::BoxFuture;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::remote::{Remote, RemoteError, form_escape, idempotency_key, idempotency_uuid};
use crate::config::brevo::Brevo as Settings;
use crate::domain::news::{NewsChange, NewsList, NewsListUnreachable};

/// Brevo with the key of an account.
pub struct Brevo {
    remote: Remote,
    settings: Settings,
}

/// A message to one person.
#[derive(Clone, Copy, Debug)]
pub struct BrevoMail<'a> {
    /// Name and address of the sender.
    pub from: (&'a str, &'a str),
    /// Address of the receiver.
    pub to: &'a str,
    /// The subject.
    pub subject: &'a str,
    /// The text.
    pub text: &'a str,
    /// Where mail programs ask for no more letters.
    pub unsubscribe: Option<&'a str>,
}

/// A message was not taken, after all tries; the cause is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrevoRefusal {
    /// It refuses the message or the key.
    #[error("Brevo refuses the message with status {0}")]
    Refused(u16),
    /// It does not answer, or not as it should.
    #[error("Brevo cannot be reached")]
    Unreachable,
}

impl Brevo {
    /// With the key of these settings.
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self { remote: Remote::new("brevo", "brevo.base_url", &settings.base_url)?, settings: settings.clone() })
    }

    async fn call(&self, request: RequestBuilder) -> Result<Value, RemoteError> {
        self.remote.send(request.header("api-key", &self.settings.api_key)).await
    }

    /// Sends a message, once.
    pub async fn send(&self, mail: BrevoMail<'_>) -> Result<(), BrevoRefusal> {
        let BrevoMail { from: (name, address), to, subject, text, unsubscribe } = mail;
        let mut body = json!({
            "sender": {"name": name, "email": address},
            "to": [{"email": to}],
            "subject": subject,
            "textContent": text,
            // Among the headers of the message is where Brevo looks for it.
            "headers": {"idempotencyKey": idempotency_uuid(&idempotency_key())},
        });
        if let Some(link) = unsubscribe {
            body["headers"]["List-Unsubscribe"] = format!("<{link}>").into();
            body["headers"]["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click".into();
        }
        match self.call(self.remote.post_json("/smtp/email", &body)).await {
            Ok(_) => Ok(()),
            // An earlier try was taken.
            Err(RemoteError::Refused(_, answer)) if answer["code"] == "duplicate_request" => Ok(()),
            Err(RemoteError::Refused(status, _)) => Err(BrevoRefusal::Refused(status)),
            Err(RemoteError::Unreachable) => Err(BrevoRefusal::Unreachable),
        }
    }

    /// Sends a request whose refusal in these words means that there was nothing to do.
    async fn ensure(&self, request: RequestBuilder, fine: &str) -> Result<(), NewsListUnreachable> {
        match self.call(request).await {
            Ok(_) => Ok(()),
            Err(RemoteError::Refused(_, answer)) if answer["code"] == fine => Ok(()),
            Err(_) => Err(NewsListUnreachable),
        }
    }

    async fn change(&self, address: &str, change: NewsChange) -> Result<(), NewsListUnreachable> {
        let list = format!("/contacts/lists/{}/contacts", self.settings.list_id);
        let emails = json!({"emails": [address]});
        match change {
            NewsChange::Add => {
                let contact = json!({"email": address, "updateEnabled": true});
                self.ensure(self.remote.post_json("/contacts", &contact), "duplicate_parameter").await?;
                self.ensure(self.remote.post_json(&format!("{list}/add"), &emails), "invalid_parameter").await
            }
            NewsChange::Remove => {
                self.ensure(self.remote.post_json(&format!("{list}/remove"), &emails), "invalid_parameter").await
            }
            NewsChange::Forget => {
                let path = format!("/contacts/{}?identifierType=email_id", form_escape(address));
                self.ensure(self.remote.delete(&path), "document_not_found").await
            }
        }
    }
}

impl NewsList for Brevo {
    fn tell(&self, address: String, change: NewsChange) -> BoxFuture<'_, Result<(), NewsListUnreachable>> {
        Box::pin(async move { self.change(&address, change).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::testing::Mock;

    fn brevo(mock: &Mock) -> Brevo {
        let base_url = format!("{}/v3", mock.base_url);
        Brevo::new(&Settings { api_key: "key-1".into(), list_id: 7, base_url, ..Settings::default() }).unwrap()
    }

    #[tokio::test]
    async fn a_message_is_sent_under_one_key_until_it_is_taken() {
        let mock = Mock::start("brevo/mail", &[]).await;
        let brevo = brevo(&mock);
        let mail = BrevoMail {
            from: ("Warren", "warren@hill.example"),
            to: "ada@hill.example",
            subject: "Warren: your verification code",
            text: "Your verification code is 123456\n",
            unsubscribe: None,
        };
        assert_eq!(brevo.send(mail).await, Ok(()));
        let unsubscribe = Some("https://hill.example/unsubscribe?1");
        assert_eq!(brevo.send(BrevoMail { unsubscribe, ..mail }).await, Ok(()), "an earlier try was taken");
        assert_eq!(brevo.send(mail).await, Err(BrevoRefusal::Refused(401)));
        mock.finish();
        let bodies = mock.bodies();
        assert_eq!(bodies[3]["headers"]["List-Unsubscribe"], "<https://hill.example/unsubscribe?1>");
        let keys: Vec<_> = bodies.iter().map(|body| &body["headers"]["idempotencyKey"]).collect();
        assert!(keys[0] == keys[1] && keys[1] == keys[2] && keys[2] != keys[3] && keys[3] != keys[4], "{keys:?}");
    }

    #[tokio::test]
    async fn the_list_follows_and_being_so_already_is_fine() {
        let mock = Mock::start("brevo/list", &[]).await;
        let brevo = brevo(&mock);
        let tell = |change| brevo.tell("ada+1@hill.example".into(), change);
        for _ in 0..2 {
            assert_eq!(tell(NewsChange::Add).await, Ok(()));
            assert_eq!(tell(NewsChange::Remove).await, Ok(()));
            assert_eq!(tell(NewsChange::Forget).await, Ok(()));
        }
        assert_eq!(tell(NewsChange::Add).await, Err(NewsListUnreachable));
        mock.finish();
    }
}
