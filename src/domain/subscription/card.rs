//! Cards of this server's own billing. It takes no real ones: only the numbers and tokens that Stripe documents for
//! tests (`https://docs.stripe.com/testing`), which pay or fail as it says there.

use serde::{Deserialize, Serialize};

use super::billing::{BillingError, Card, Source, TypedCard};
use super::record::{SUBSCRIBERS, Subscriber};
use crate::domain::error::DomainError;
use crate::domain::operation::Tx;
use crate::ids::{RecordId, UserId};
use crate::json_record;
use crate::store::table::Table;
use crate::time::Timestamp;

/// The cards of a user.
pub const CARDS: Table<(UserId, RecordId), LocalCard> = Table::guarded(291, "cards", 16);

/// Cards of one user.
const MAX_CARDS: usize = 16;

/// Digits of the shortest and the longest card number.
const DIGITS: std::ops::RangeInclusive<usize> = 12..=19;

/// Years that a test card made from a token lasts.
const TOKEN_YEARS: u16 = 4;

const ID_PREFIX: &str = "card_";

/// A card. Of its number nothing but the last four digits is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalCard {
    /// Who issued it.
    pub brand: String,
    /// The last four digits.
    pub last4: String,
    /// Year and month after which it is worthless.
    pub expiry: (u16, u8),
    /// What happens when it is charged.
    pub conduct: Conduct,
    /// When it was added.
    pub create_time: Timestamp,
}
json_record!(LocalCard, 1);

/// What happens when a card is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conduct {
    /// It pays.
    Pays,
    /// It is refused.
    Fails,
    /// It pays when its owner has just confirmed it to their bank, and for renewals.
    Asks,
}

impl LocalCard {
    /// Charges it.
    pub(super) fn charge(&self, is_confirmed: bool, now: Timestamp) -> Result<(), BillingError> {
        let refused = |text: &str| Err(BillingError::Refused(text.into()));
        match self.conduct {
            _ if is_over(self.expiry, now) => refused("Your card has expired."),
            Conduct::Fails => refused("Your card was declined."),
            Conduct::Asks if !is_confirmed => {
                refused("Your card was declined. This payment needs your bank's approval.")
            }
            Conduct::Pays | Conduct::Asks => Ok(()),
        }
    }

    /// As people read it.
    pub(super) fn name(&self) -> String {
        format!("{} •••• {}", self.brand, self.last4)
    }

    fn shown(&self, id: RecordId, is_default: bool) -> Card {
        let (brand, last4) = (self.brand.clone(), self.last4.clone());
        Card { id: text_id(id), brand, last4, expiry: self.expiry, is_default }
    }
}

/// How a known test card behaves.
#[derive(Clone, Copy)]
enum Known {
    Conduct(Conduct),
    /// It is refused as soon as it is added.
    Refused(&'static str),
}

/// Number, token, brand, what it does.
type TestCard = (&'static str, &'static str, &'static str, Known);

const PAYS: Known = Known::Conduct(Conduct::Pays);
const ASKS: Known = Known::Conduct(Conduct::Asks);

const TEST_CARDS: &[TestCard] = &[
    ("4242424242424242", "tok_visa", "Visa", PAYS),
    ("4000056655665556", "tok_visa_debit", "Visa", PAYS),
    ("5555555555554444", "tok_mastercard", "Mastercard", PAYS),
    ("5200828282828210", "tok_mastercard_debit", "Mastercard", PAYS),
    ("5105105105105100", "tok_mastercard_prepaid", "Mastercard", PAYS),
    ("378282246310005", "tok_amex", "American Express", PAYS),
    ("6011111111111117", "tok_discover", "Discover", PAYS),
    ("3056930009020004", "tok_diners", "Diners Club", PAYS),
    ("3566002020360505", "tok_jcb", "JCB", PAYS),
    ("6200000000000005", "tok_unionpay", "UnionPay", PAYS),
    ("4000000000003220", "tok_threeDSecure2Required", "Visa", ASKS),
    ("4000000000003063", "tok_threeDSecureRequired", "Visa", ASKS),
    ("4000000000000341", "tok_chargeCustomerFail", "Visa", Known::Conduct(Conduct::Fails)),
    ("4000000000000002", "tok_chargeDeclined", "Visa", Known::Refused("Your card was declined.")),
    (
        "4000000000009995",
        "tok_chargeDeclinedInsufficientFunds",
        "Visa",
        Known::Refused("Your card has insufficient funds."),
    ),
    ("4000000000009987", "tok_chargeDeclinedLostCard", "Visa", Known::Refused("Your card was declined.")),
    ("4000000000009979", "tok_chargeDeclinedStolenCard", "Visa", Known::Refused("Your card was declined.")),
    ("4000000000000069", "tok_chargeDeclinedExpiredCard", "Visa", Known::Refused("Your card has expired.")),
    (
        "4000000000000127",
        "tok_chargeDeclinedIncorrectCvc",
        "Visa",
        Known::Refused("Your card's security code is incorrect."),
    ),
    (
        "4000000000000119",
        "tok_chargeDeclinedProcessingError",
        "Visa",
        Known::Refused("An error occurred while processing your card. Try again in a little bit."),
    ),
];

/// The id of a card as clients see it.
pub(super) fn text_id(id: RecordId) -> String {
    format!("{ID_PREFIX}{}", hex::encode(id.as_bytes()))
}

fn parse_id(text: &str) -> Option<RecordId> {
    text.strip_prefix(ID_PREFIX).filter(|id| id.len() == 32)?.parse().ok()
}

/// The month is over.
fn is_over((year, month): (u16, u8), now: Timestamp) -> bool {
    let date = now.to_date();
    let mut parts = date.split('-').map(|part| part.parse::<u16>().unwrap_or(0));
    let today = (parts.next().unwrap_or(0), parts.next().unwrap_or(0) as u8);
    (year, month) < today
}

/// The check digit is right.
fn is_card_number(digits: &str) -> bool {
    let sum: u32 = (digits.bytes().rev().enumerate())
        .map(|(at, digit)| match (at % 2, u32::from(digit - b'0')) {
            (0, digit) => digit,
            (_, digit) => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

fn refused<T>(text: &str) -> Result<T, BillingError> {
    Err(BillingError::Refused(text.into()))
}

fn accept(test: &TestCard, expiry: (u16, u8), now: Timestamp) -> Result<LocalCard, BillingError> {
    let (number, _, brand, known) = *test;
    match known {
        Known::Refused(text) => refused(text),
        Known::Conduct(conduct) => {
            let last4 = number[number.len() - 4..].to_owned();
            Ok(LocalCard { brand: brand.into(), last4, expiry, conduct, create_time: now })
        }
    }
}

/// What a typed card is.
fn read_typed(typed: &TypedCard, now: Timestamp) -> Result<LocalCard, BillingError> {
    let digits: String = typed.number.chars().filter(|letter| !matches!(letter, ' ' | '-')).collect();
    let is_number = DIGITS.contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number || !is_card_number(&digits) {
        return refused("Your card number is incorrect.");
    }
    if !(1..=12).contains(&typed.expiry.1) {
        return refused("Your card's expiration month is invalid.");
    }
    if is_over(typed.expiry, now) {
        return refused("Your card's expiration year is invalid.");
    }
    match TEST_CARDS.iter().find(|(number, ..)| *number == digits) {
        Some(test) => accept(test, typed.expiry, now),
        None => refused("Your card was declined. This server takes test cards only."),
    }
}

/// What a token stands for, `tok_…` or the `pm_card_…` that goes with it.
fn read_token(token: &str, now: Timestamp) -> Result<LocalCard, BillingError> {
    let name = token.strip_prefix("pm_card_").or(token.strip_prefix("tok_"));
    let found = name.and_then(|name| TEST_CARDS.iter().find(|(_, known, ..)| known.strip_prefix("tok_") == Some(name)));
    let Some(test) = found else { return refused("There is no such source.") };
    let year = now.to_date().get(..4).and_then(|year| year.parse::<u16>().ok()).unwrap_or(0);
    accept(test, (year + TOKEN_YEARS, 12), now)
}

/// The card that a source stands for: its id when it is known already.
pub(super) fn of_source(
    tx: &mut Tx<'_>,
    user_id: &UserId,
    source: &Source,
) -> Result<Result<(Option<RecordId>, LocalCard), BillingError>, DomainError> {
    let named = match source {
        Source::Typed(typed) => return Ok(read_typed(typed, tx.now).map(|card| (None, card))),
        Source::Named(named) => named,
    };
    let Some(id) = parse_id(named) else { return Ok(read_token(named, tx.now).map(|card| (None, card))) };
    let card = tx.get(&CARDS, &(*user_id, id))?;
    Ok(card.map(|card| (Some(id), card)).ok_or(BillingError::NoCard))
}

/// The cards of a user, the default first, then in the order in which they came.
pub(super) fn cards(tx: &mut Tx<'_>, user_id: &UserId) -> Result<Vec<Card>, DomainError> {
    let default = tx.get(&SUBSCRIBERS, user_id)?.unwrap_or_default().default_card;
    let rows = tx.scan(&CARDS, user_id)?;
    let mut cards: Vec<Card> = rows.iter().map(|((_, id), card)| card.shown(*id, default == Some(*id))).collect();
    cards.sort_by_key(|card| !card.is_default);
    Ok(cards)
}

/// Keeps a new card; the first one becomes the default.
pub(super) fn add(
    tx: &mut Tx<'_>,
    user_id: &UserId,
    card: &LocalCard,
) -> Result<Result<(RecordId, Card), BillingError>, DomainError> {
    let known = tx.scan(&CARDS, user_id)?.len();
    if known >= MAX_CARDS {
        return Ok(Err(BillingError::TooManyCards));
    }
    let id: RecordId = tx.new_id();
    tx.put(&CARDS, &(*user_id, id), card)?;
    let is_first = known == 0;
    if is_first {
        put_default(tx, user_id, Some(id))?;
    }
    Ok(Ok((id, card.shown(id, is_first))))
}

/// Names the card that is charged.
pub(super) fn put_default(
    tx: &mut Tx<'_>,
    user_id: &UserId,
    default_card: Option<RecordId>,
) -> Result<(), DomainError> {
    let known = tx.get(&SUBSCRIBERS, user_id)?.unwrap_or_default();
    Ok(tx.put(&SUBSCRIBERS, user_id, &Subscriber { default_card, ..known })?)
}

/// Makes a card the default.
pub(super) fn set_default(
    tx: &mut Tx<'_>,
    user_id: &UserId,
    card: &str,
) -> Result<Result<(), BillingError>, DomainError> {
    let Some(id) = parse_id(card) else { return Ok(Err(BillingError::NoCard)) };
    let Some(found) = tx.get(&CARDS, &(*user_id, id))? else { return Ok(Err(BillingError::NoCard)) };
    if is_over(found.expiry, tx.now) {
        return Ok(refused("Your card has expired."));
    }
    put_default(tx, user_id, Some(id))?;
    Ok(Ok(()))
}

/// Deletes a card, but not the last one and not the default.
pub(super) fn delete(tx: &mut Tx<'_>, user_id: &UserId, card: &str) -> Result<Result<(), BillingError>, DomainError> {
    let cards = cards(tx, user_id)?;
    let Some(found) = cards.iter().find(|known| known.id == card) else { return Ok(Err(BillingError::NoCard)) };
    if cards.len() == 1 {
        return Ok(Err(BillingError::LastCard));
    }
    if found.is_default {
        return Ok(Err(BillingError::DefaultCard));
    }
    if let Some(id) = parse_id(card) {
        tx.delete(&CARDS, &(*user_id, id))?;
    }
    Ok(Ok(()))
}

/// The card that renewals are charged to.
pub(super) fn default_card(tx: &mut Tx<'_>, user_id: &UserId) -> Result<Option<LocalCard>, DomainError> {
    let Some(id) = tx.get(&SUBSCRIBERS, user_id)?.and_then(|known| known.default_card) else { return Ok(None) };
    Ok(tx.get(&CARDS, &(*user_id, id))?)
}

/// Forgets every card of a user.
pub(super) fn remove_all(tx: &mut Tx<'_>, user_id: &UserId) -> Result<(), DomainError> {
    for (key, _) in tx.scan(&CARDS, user_id)? {
        tx.delete(&CARDS, &key)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_770_091_506);

    fn typed(number: &str, expiry: (u16, u8)) -> Result<LocalCard, BillingError> {
        read_typed(&TypedCard { number: number.into(), expiry }, NOW)
    }

    fn text<T: std::fmt::Debug>(outcome: Result<T, BillingError>) -> String {
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn every_test_number_has_a_right_check_digit_and_a_token_of_its_own() {
        let mut tokens: Vec<_> = TEST_CARDS.iter().map(|(_, token, ..)| token).collect();
        tokens.sort();
        tokens.dedup();
        assert_eq!(tokens.len(), TEST_CARDS.len());
        for (number, token, _, known) in TEST_CARDS {
            assert!(is_card_number(number), "{number}");
            let (by_number, by_token) = (typed(number, (2030, 12)), read_token(token, NOW));
            assert_eq!(by_number.is_ok(), matches!(known, Known::Conduct(_)), "{number}");
            match (by_number, by_token) {
                (Ok(one), Ok(two)) => assert_eq!(one, two),
                (one, two) => assert_eq!(text(one), text(two)),
            }
        }
    }

    #[test]
    fn numbers_are_judged_as_people_type_them() {
        let card = typed("4242 4242-4242 4242", (2026, 2)).unwrap();
        assert_eq!((card.last4.as_str(), card.name().as_str()), ("4242", "Visa •••• 4242"));
        for (number, expiry, expected) in [
            ("4242424242424241", (2030, 1), "Your card number is incorrect."),
            ("4242", (2030, 1), "Your card number is incorrect."),
            ("42424242424242４2", (2030, 1), "Your card number is incorrect."),
            ("4242424242424242", (2026, 1), "Your card's expiration year is invalid."),
            ("4242424242424242", (2030, 13), "Your card's expiration month is invalid."),
            ("4012888888881881", (2030, 1), "Your card was declined. This server takes test cards only."),
            ("4000000000000002", (2030, 1), "Your card was declined."),
        ] {
            assert_eq!(text(typed(number, expiry)), expected, "{number}");
        }
        for token in ["tok_", "tok_none", "pm_card_", "src_1", "", "card_xyz"] {
            assert_eq!(text(read_token(token, NOW)), "There is no such source.", "{token}");
        }
        assert_eq!(read_token("pm_card_visa", NOW).unwrap().last4, "4242");
    }

    #[test]
    fn cards_pay_fail_or_ask_for_the_bank() {
        let charge = |token, is_confirmed| read_token(token, NOW).unwrap().charge(is_confirmed, NOW).is_ok();
        assert!(charge("tok_visa", false));
        assert!(!charge("tok_chargeCustomerFail", true));
        assert!(!charge("tok_threeDSecure2Required", false));
        assert!(charge("tok_threeDSecure2Required", true));
        let mut old = read_token("tok_visa", NOW).unwrap();
        old.expiry = (2026, 1);
        assert_eq!(text(old.charge(true, NOW)), "Your card has expired.");
    }

    #[test]
    fn a_typed_card_does_not_show_in_a_log() {
        let typed = TypedCard { number: "4242424242424242".into(), expiry: (2030, 1) };
        assert!(!format!("{:?}", Source::Typed(typed)).contains("4242"));
    }
}
