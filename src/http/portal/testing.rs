//! What tests of the website share: browsers with cookies, recorded exchanges, the letters that were sent.

use axum::http::{Method, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::domain::auth::web_session::{self, WebSessionSecret};
use crate::domain::effect::{Effect, Message, MessageKind};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::domain::portal::mail::Letter;
use crate::http::testing::{Answer, Call, TestApi, golden};
use crate::ids::UserId;

/// A browser, or a program, that keeps its cookies.
#[derive(Clone)]
pub struct Browser<'a> {
    api: &'a TestApi,
    /// `text/html`, or nothing.
    accept: Option<&'static str>,
    /// Its cookies, by name.
    pub cookies: Vec<(String, String)>,
}

impl<'a> Browser<'a> {
    /// One that wants pages.
    pub fn new(api: &'a TestApi) -> Self {
        Self { api, accept: Some("text/html,*/*;q=0.8"), cookies: Vec::new() }
    }

    /// A program that wants JSON.
    pub fn program(api: &'a TestApi) -> Self {
        Self { accept: None, ..Self::new(api) }
    }

    /// Opens a page.
    pub async fn get(&mut self, path: &str) -> Answer {
        let call = self.api.get(path);
        self.send(call).await
    }

    /// Sends a form.
    pub async fn form(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let call = self.api.form(path, fields);
        self.send(call).await
    }

    /// Signs in.
    pub async fn sign_in(&mut self, email: &str, password: &str) {
        let answer = self.form("/signin", &[("email", email), ("password", password)]).await;
        assert_eq!((answer.status.as_u16(), answer.flash()), (302, None), "{}", answer.text);
    }

    /// Wants JSON from now on.
    pub fn as_program(&mut self) -> &mut Self {
        self.accept = None;
        self
    }

    /// Sends the form of a page, the token of the session with it.
    pub async fn signed_form(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.csrf();
        let mut all = vec![("_csrf", token.as_str())];
        all.extend(fields);
        self.form(path, &all).await
    }

    /// Sends JSON.
    pub async fn post(&mut self, path: &str, body: Value) -> Answer {
        let call = self.api.post(path, body);
        self.send(call).await
    }

    /// Sends any request.
    pub async fn send(&mut self, mut call: Call) -> Answer {
        if let Some(accept) = self.accept {
            call = call.header("accept", accept);
        }
        if !self.cookies.is_empty() {
            let text = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
            call = call.header("cookie", &text.join("; "));
        }
        let answer = call.await;
        for (name, value) in set_cookies(&answer) {
            self.cookies.retain(|(kept, _)| *kept != name);
            if !value.is_empty() {
                self.cookies.push((name, value));
            }
        }
        answer
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|(kept, _)| kept == name).map(|(_, value)| value.as_str())
    }

    /// The token of the session's forms.
    pub fn csrf(&self) -> String {
        self.cookie("confirmedid").map(super::csrf::token).unwrap_or_default()
    }
}

struct StartSession(UserId);

impl Operation for StartSession {
    type Output = WebSessionSecret;
    fn apply(&self, tx: &mut Tx<'_>) -> Result<WebSessionSecret, DomainError> {
        web_session::start(tx, &self.0, None)
    }
}

/// The cookies that an answer sets, by name; empty ones are forgotten.
pub fn set_cookies(answer: &Answer) -> Vec<(String, String)> {
    let texts = answer.headers.get_all(header::SET_COOKIE).iter().map(|text| text.to_str().unwrap());
    let pairs = texts.map(|text| text.split(';').next().unwrap().split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The address of the people in tests.
pub const EMAIL: &str = "ada@hill.example";
/// Their password.
pub const PASSWORD: &str = "Correct-horse-1";

impl TestApi {
    /// Signs somebody up at the website and proves their address.
    pub async fn sign_up(&self, email: &str) {
        let code = self.sign_up_unproven(email).await;
        let path = format!("/confirm-email?email={}&code={code}&browser=true", email.replace('+', "%2B"));
        assert_eq!(Browser::new(self).get(&path).await.location(), "/signin");
    }

    /// Signs somebody up at the website; the code that was sent.
    pub async fn sign_up_unproven(&self, email: &str) -> String {
        self.effects.take();
        let body = json!({"email": email, "password": PASSWORD});
        assert_eq!(Browser::program(self).post("/signup", body).await.expect(200)["code"], 1);
        self.code()
    }

    /// The code of the one letter since the last look.
    #[track_caller]
    pub fn code(&self) -> String {
        match &self.letters()[..] {
            [
                (
                    _,
                    Letter::ConfirmEmail { code, .. }
                    | Letter::ConfirmNewEmail { code }
                    | Letter::ResetPassword { code },
                ),
            ] => code.clone(),
            other => panic!("not one code: {other:?}"),
        }
    }

    /// A browser whose user, new at the website, is signed in.
    pub async fn member(&self) -> Browser<'_> {
        self.sign_up(EMAIL).await;
        let mut browser = Browser::new(self);
        browser.sign_in(EMAIL, PASSWORD).await;
        self.effects.take();
        browser
    }

    /// A browser in which a user is signed in, whoever it is.
    pub async fn browser_of(&self, user_id: UserId) -> Browser<'_> {
        let secret = self.state.service.run(&StartSession(user_id)).await.unwrap();
        let mut browser = Browser::new(self);
        browser.cookies.push(("confirmedid".into(), secret.as_str().into()));
        browser
    }
    /// A `POST` of a form.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> Call {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let asked = fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let call = self.call(Method::POST, path, Some(body.into_bytes()));
        call.asked(Value::Object(asked)).header("content-type", "application/x-www-form-urlencoded")
    }

    /// The letters of the website since the last look at the effects, with their receivers.
    pub fn letters(&self) -> Vec<(String, Letter)> {
        let letter = |effect| match effect {
            Effect::Send(Message { to, kind: MessageKind::Portal(mail) }) => Some((to, mail.letter)),
            _ => None,
        };
        self.effects.take().into_iter().filter_map(letter).collect()
    }
}

impl Answer {
    /// Where it leads.
    #[track_caller]
    pub fn location(&self) -> &str {
        assert_eq!(self.status, 302, "{}", self.text);
        self.headers[header::LOCATION].to_str().unwrap()
    }

    /// The message that it has for the next page.
    pub fn flash(&self) -> Option<String> {
        let (_, value) = set_cookies(self).into_iter().find(|(name, value)| name == "flash" && !value.is_empty())?;
        let bytes = URL_SAFE_NO_PAD.decode(value).unwrap();
        let flash: Value = serde_json::from_slice(&bytes[32..]).unwrap();
        Some(format!("{}: {}", flash["kind"].as_str().unwrap(), flash["text"].as_str().unwrap()))
    }

    /// Checks the status, and the exchange against `tests/golden/portal/<route>/<case>.json`. Of a page the title and
    /// heading are recorded, of a redirect where it leads and what it says.
    #[track_caller]
    pub fn portal_golden(&self, status: u16, case: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let between = |start: &str, end: &str| {
            let rest = self.text.split_once(start)?.1;
            Some(rest.split_once(end)?.0.trim().to_owned())
        };
        let mut body = match self.headers.get(header::LOCATION) {
            Some(location) => json!({"location": location.to_str().unwrap()}),
            None if self.body.is_null() => {
                json!({"title": between("<title>", "</title>"), "heading": between("<h1>", "</h1>")})
            }
            None => self.body.clone(),
        };
        if let Some(flash) = self.flash() {
            body["flash"] = flash.into();
        }
        let mut asked = self.asked().clone();
        neutral(&mut asked);
        neutral(&mut body);
        golden::check("portal", case, &asked, status, &body);
    }
}

/// Replaces what differs from run to run: long runs of letters and digits are codes, tokens or ids.
fn neutral(value: &mut Value) {
    match value {
        Value::String(text) => {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            let mut out = String::new();
            let mut rest = text.as_str();
            while let Some(start) = rest.find(is_part) {
                out.push_str(&rest[..start]);
                let length = rest[start..].find(|c| !is_part(c)).unwrap_or(rest.len() - start);
                let word = &rest[start..start + length];
                out.push_str(if length >= 32 { "<code>" } else { word });
                rest = &rest[start + length..];
            }
            *text = out + rest;
        }
        Value::Array(items) => items.iter_mut().for_each(neutral),
        Value::Object(members) => members.values_mut().for_each(neutral),
        _ => {}
    }
}
