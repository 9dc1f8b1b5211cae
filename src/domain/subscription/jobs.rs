//! What subscriptions need done in time: renewals, and what is paid and not given.

use std::time::Duration;

use super::course::RenewPlan;
use super::desk::Subscriptions;
use super::receipt::ReceiptProblem;
use super::record::{self, SUBSCRIPTION_CHECKS, SUBSCRIPTION_PROOFS, Subscription};
use super::store::TakeReceipt;
use crate::domain::error::DomainError;
use crate::domain::operation::{Operation, Tx};
use crate::ids::UserId;
use crate::time::{DAY, Timestamp};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(30);

/// Plans that are looked at in one step.
const AT_ONCE: usize = 256;

/// Time until a store is asked again that could not say, or has not renewed.
const STORE_RETRY: Duration = Duration::from_secs(6 * 3600);

/// How long after its end a plan may still be renewed by its store.
const STORE_GRACE: Duration = Duration::from_secs(30 * DAY.as_secs());

impl Subscriptions {
    /// Does what is due, a round every half minute, the first at once; runs until dropped.
    pub async fn drive(&self) {
        loop {
            if let Err(error) = self.once().await {
                tracing::warn!(%error, "renewals are not done; the next round tries again");
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    /// Does what is due now.
    pub async fn once(&self) -> Result<(), DomainError> {
        self.deliver().await?;
        loop {
            let due = self.service.read(&DueChecks)?;
            for key in &due {
                self.check(key).await?;
            }
            // Each that was looked at is due later, or never again.
            if due.len() < AT_ONCE {
                break;
            }
        }
        self.deliver().await?;
        self.end_at_company().await
    }

    async fn check(&self, key: &(UserId, String)) -> Result<(), DomainError> {
        let Some(Check { plan, proof }) = self.service.read(&ReadCheck(key))? else { return Ok(()) };
        if plan.local.is_some() {
            return self.service.run(&RenewPlan { key: key.clone() }).await;
        }
        let Some(proof) = proof else { return self.service.run(&PutOff { key, is_over: true }).await };
        let is_over = match self.look_again(plan.receipt_type, proof).await {
            Ok(receipt) => {
                self.service.run(&TakeReceipt { user_id: key.0, receipt: &receipt }).await?;
                false
            }
            Err(ReceiptProblem::Domain(error)) => return Err(error),
            Err(problem) => {
                tracing::info!(%problem, code = problem.code(), "a store does not renew a plan");
                problem.is_final()
            }
        };
        self.service.run(&PutOff { key, is_over }).await
    }
}

/// The plans that are to be looked at now, those that have waited longest first.
struct DueChecks;

impl Operation for DueChecks {
    type Output = Vec<(UserId, String)>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Output, DomainError> {
        let rows = tx.page_snapshot(&SUBSCRIPTION_CHECKS, None, AT_ONCE)?;
        let is_due = |time: u64| Timestamp::from_millis(time) <= tx.now;
        let due = rows.into_iter().take_while(|((time, ..), ())| is_due(*time));
        Ok(due.map(|((_, user_id, receipt_id), ())| (user_id, receipt_id)).collect())
    }
}

struct Check {
    plan: Subscription,
    proof: Option<String>,
}

struct ReadCheck<'a>(&'a (UserId, String));

impl Operation for ReadCheck<'_> {
    type Output = Option<Check>;

    fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Check>, DomainError> {
        let Some(plan) = record::plan(tx, self.0)? else { return Ok(None) };
        let proof = tx.get(&SUBSCRIPTION_PROOFS, self.0)?.map(|proof| proof.0);
        Ok(Some(Check { plan, proof }))
    }
}

/// Looks at a plan later again, when it is still due: its store has not renewed it yet.
struct PutOff<'a> {
    key: &'a (UserId, String),
    /// Its store will not renew it any more.
    is_over: bool,
}

impl Operation for PutOff<'_> {
    type Output = ();

    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), DomainError> {
        let Some(plan) = record::plan(tx, self.key)? else { return Ok(()) };
        if plan.check_time.is_none_or(|time| tx.now < time) {
            return Ok(());
        }
        let is_over = self.is_over || plan.expiration + STORE_GRACE <= tx.now;
        let check_time = (!is_over).then(|| tx.now + STORE_RETRY);
        record::put(tx, self.key, &Subscription { check_time, renews: plan.renews && !is_over, ..plan })
    }
}
