//! Sign-in of a device with mail address and password.

use super::device::{self, APP_DEVICES, AppDevice, AppLogin, CLIENT_APP_DEVICES, USER_APP_DEVICES};
use super::number::{self, Number, Numbered};
use super::token::{self, APP_TOKENS};
use crate::domain::auth::login::{self, PasswordOwner};
use crate::domain::auth::method::MethodKind;
use crate::domain::auth::{authenticate, session};
use crate::domain::client::{self, NewClient};
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};

/// Signs a device in, which is made when the user has none of that name. The token it had before is dead; client tokens
/// that it was given stay good.
pub struct SignIn<'a> {
    /// Whose password was right.
    pub owner: &'a PasswordOwner,
    /// What the app calls the device.
    pub app_name: &'a str,
    /// What people shall call it; empty for the app's own name.
    pub name: &'a str,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInOutcome {
    /// Signed in.
    SignedIn {
        /// The token; the only time it is seen.
        token: String,
        /// The device's number.
        number: u32,
    },
    /// The address is not proven to be the user's.
    Unverified,
    /// The network has all the clients it may have.
    Full,
    /// The password was changed between its check and this transaction.
    Changed,
}

impl Operation for SignIn<'_> {
    type Output = SignInOutcome;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<SignInOutcome, DomainError> {
        match login::still_owned(tx, self.owner, MethodKind::Email)? {
            None => return Ok(SignInOutcome::Changed),
            Some(method) if !method.verified => return Ok(SignInOutcome::Unverified),
            Some(_) => {}
        }
        let Some((number, device)) = self.device(tx)? else { return Ok(SignInOutcome::Full) };
        if let Some(before) = device.login {
            tx.delete(&APP_TOKENS, &before.token)?;
        }
        let (create_time, session_id) = match (device.login, device::caller(tx, &device)?) {
            (Some(before), Some(caller)) if authenticate::stands(tx, &caller)? => {
                (before.create_time, before.session_id)
            }
            _ => {
                let caller = session::login(tx, &self.owner.user_id)?;
                (caller.create_time, caller.session_id.ok_or(DomainError::Unauthorized)?)
            }
        };
        let (text, token) = token::make(tx);
        tx.put(&APP_TOKENS, &token, &Number { number })?;
        let login = Some(AppLogin { token, token_time: tx.now, create_time, session_id });
        tx.put(&APP_DEVICES, &number, &AppDevice { login, ..device })?;
        Ok(SignInOutcome::SignedIn { token: text, number })
    }
}

impl SignIn<'_> {
    /// The user's device of that name, made when there is none; `None` when there is no room for it.
    fn device(&self, tx: &mut Tx<'_>) -> Result<Option<(u32, AppDevice)>, DomainError> {
        let key = device::key(self.owner.user_id, self.app_name);
        if let Some(Number { number }) = tx.get(&USER_APP_DEVICES, &key)?
            && let Some(device) = tx.get(&APP_DEVICES, &number)?
        {
            return Ok(Some((number, device)));
        }
        let description = if self.name.is_empty() { self.app_name } else { self.name };
        let new = NewClient {
            network_id: self.owner.network_id,
            description,
            device_spec: "",
            roles: Vec::new(),
            principal: String::new(),
        };
        let Some((client_id, _)) = client::create_top_level(tx, new)? else { return Ok(None) };
        let number = number::next(tx, Numbered::Device)?;
        let device = AppDevice {
            user_id: self.owner.user_id,
            network_id: self.owner.network_id,
            client_id,
            app_name: self.app_name.into(),
            create_time: tx.now,
            login: None,
        };
        tx.put(&USER_APP_DEVICES, &key, &number)?;
        tx.put(&CLIENT_APP_DEVICES, &client_id, &number)?;
        Ok(Some((number.number, device)))
    }
}
