//! Every template with everything there is to show, and with nothing.

use std::collections::BTreeSet;

use crate::domain::auth::web_session::WebUser;
use crate::http::portal::account::{AccountPage, Balance, Device, Referral};
use crate::http::portal::billing::card::{AddCardPage, PaymentMethodsPage, ShownCard};
use crate::http::portal::billing::invoice::{InvoiceLine, InvoicePage, InvoicesPage};
use crate::http::portal::billing::plan::{CancelSubscriptionPage, NewSubscriptionPage, Offer};
use crate::http::portal::change_email::ChangeEmailPage;
use crate::http::portal::fields::Fields;
use crate::http::portal::flash::{Flash, Kind};
use crate::http::portal::opt_out::{OptOutPage, OptedOutPage};
use crate::http::portal::page::{Page, TEMPLATES};
use crate::http::portal::passage::NoticePage;
use crate::http::portal::password::{ChangePasswordPage, ForgotPasswordPage, ResetPasswordPage};
use crate::http::portal::place::{ClientsPage, HomePage, TextPage};
use crate::http::portal::plan::{Plan, ShownPlan};
use crate::http::portal::reader::{Reader, ReaderParts};
use crate::http::portal::signin::SignInPage;
use crate::http::portal::signup::{EmailConfirmedPage, ResendPage, SignUpPage, SignUpSuccessPage};
use crate::http::testing::TestApi;

/// Templates that are parts of others.
const PARTS: [&str; 2] = ["base.html", "forms.html"];

fn reader(language: &str, is_full: bool) -> Reader {
    let user = WebUser { user_id: Default::default(), network_id: Default::default(), session: [1; 32] };
    Reader::from(ReaderParts {
        language: language.into(),
        wants_html: true,
        path: "/".into(),
        query: Fields::of_form(if is_full { b"a=%22%3E%3Cb%3E&lang=en" } else { b"" }),
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        user: is_full.then_some(user),
        csrf: if is_full { "token".into() } else { String::new() },
        flash: is_full.then(|| Flash { kind: Kind::Bad, text: "<b>bold</b>".into() }),
        is_cross_site: false,
    })
}

struct Desk<'a> {
    api: &'a TestApi,
    seen: BTreeSet<&'static str>,
}

impl Desk<'_> {
    /// Renders a page with everything and with nothing, for everyone.
    fn show<P: Page>(&mut self, full: &P, empty: &P) {
        self.seen.insert(P::TEMPLATE);
        let portal = &self.api.state.portal;
        for language in ["en", "ru"] {
            for (page, is_full) in [(full, true), (full, false), (empty, true), (empty, false)] {
                let reader = reader(language, is_full);
                for reader in [reader.bare(), reader] {
                    let text = portal
                        .pages
                        .render(&portal.texts, &reader, page)
                        .unwrap_or_else(|error| panic!("{} in {language}: {error:#}", P::TEMPLATE));
                    check(P::TEMPLATE, language, &text, &reader);
                }
            }
        }
    }
}

/// What holds for every page.
fn check(name: &str, language: &str, text: &str, reader: &Reader) {
    assert!(text.starts_with("<!doctype html>") && text.contains(&format!("<html lang=\"{language}\">")), "{name}");
    assert_eq!(text.matches("<h1>").count(), 1, "{name} has one heading of the first order");
    assert!(!text.contains("<b>"), "{name} shows what it is given as text");
    for scripted in ["<script", "javascript:", " onclick=", " onload=", " onsubmit=", " style="] {
        assert!(!text.contains(scripted), "{name} holds {scripted}");
    }
    for form in text.split("<form ").skip(1) {
        let form = form.split("</form>").next().unwrap();
        assert!(form.starts_with("method=\"post\""), "{name}");
        for input in form.split("<input ").skip(1).filter(|input| !input.starts_with("type=\"hidden\"")) {
            let id = input.split("id=\"").nth(1).unwrap().split('"').next().unwrap();
            assert!(form.contains(&format!("<label for=\"{id}\">")), "{name}: {id} has no label");
        }
    }
    let is_framed = text.contains("<footer");
    assert_eq!(is_framed, !reader.is_bare(), "{name}");
}

#[tokio::test]
async fn every_template_is_whole_with_everything_and_with_nothing() {
    let api = TestApi::new();
    let mut desk = Desk { api: &api, seen: BTreeSet::new() };
    let bold = || "<b>x</b>".to_owned();
    desk.show(&HomePage {}, &HomePage {});
    for topic in ["privacy", "terms", "support", "contact", "notification"] {
        desk.show(&TextPage { topic, contact: bold() }, &TextPage { topic, contact: String::new() });
    }
    desk.show(&ClientsPage { has_mac: true, has_windows: true }, &ClientsPage::default());
    desk.show(&NoticePage { status: 429, message: bold(), next: Some(bold()) }, &NoticePage::default());
    desk.show(&NoticePage { status: 404, message: bold(), next: None }, &NoticePage::default());
    desk.show(&SignInPage { redirect_uri: "/payment-methods" }, &SignInPage::default());
    desk.show(&SignUpPage { refer: bold() }, &SignUpPage::default());
    desk.show(&SignUpSuccessPage {}, &SignUpSuccessPage {});
    desk.show(&EmailConfirmedPage {}, &EmailConfirmedPage {});
    desk.show(&ResendPage {}, &ResendPage {});
    desk.show(&ForgotPasswordPage {}, &ForgotPasswordPage {});
    desk.show(&ResetPasswordPage { code: bold() }, &ResetPasswordPage::default());
    desk.show(&ChangeEmailPage {}, &ChangeEmailPage {});
    desk.show(&ChangePasswordPage {}, &ChangePasswordPage {});
    desk.show(&OptedOutPage {}, &OptedOutPage {});
    for (topic, action) in [("do_not_email", "/do-not-email"), ("newsletter", "/newsletter-unsubscribe")] {
        let page = |text: fn() -> String| OptOutPage { topic, action, email: text(), code: text() };
        desk.show(&page(|| "<b>x</b>".into()), &page(String::new));
    }
    let device = |is_connected, seen| Device { id: bold(), name: bold(), spec: bold(), is_connected, seen };
    let account = AccountPage {
        email: Some(bold()),
        network_name: bold(),
        plan: Plan {
            is_pro: true,
            renewal: Some(bold()),
            subscriptions: vec![ShownPlan {
                name: "all-monthly",
                end: bold(),
                renews: true,
                in_trial: true,
                ..ShownPlan::default()
            }],
            may_subscribe: true,
            upgrade: "ios-annual",
        },
        balance: Balance { used: bold(), total: bold(), percent: 50 },
        referral: Referral { code: bold(), link: bold(), count: 3, discount: 40 },
        devices: vec![device(true, None), device(false, Some(bold())), Device::default()],
    };
    desk.show(&account, &AccountPage::default());

    let card = |is_default| ShownCard { id: bold(), brand: bold(), last4: bold(), expiry: bold(), is_default };
    let cards = || vec![card(true), card(false)];
    desk.show(&PaymentMethodsPage { cards: cards() }, &PaymentMethodsPage::default());
    desk.show(&AddCardPage {}, &AddCardPage {});
    let invoice = |state| InvoiceLine {
        id: bold(),
        text: bold(),
        state,
        date: bold(),
        period: bold(),
        price: bold(),
        percent: 10,
        amount: bold(),
        paid_with: bold(),
        url: bold(),
        is_open: true,
    };
    let invoices = ["open", "paid", "void", "refunded"].map(invoice).into();
    desk.show(&InvoicesPage { invoices }, &InvoicesPage::default());
    let page = InvoicePage { invoice: invoice("open"), contact: bold() };
    desk.show(&page, &InvoicePage::default());
    let offer = |plan, is_annual| Offer { plan, is_annual, price: bold(), full_price: bold(), is_chosen: is_annual };
    let page = |confirmed: String| NewSubscriptionPage {
        offers: vec![offer("all-monthly", false), offer("all-annual", true)],
        percent: 20,
        cards: cards(),
        takes_typed: confirmed.is_empty(),
        takes_invoices: true,
        trial_days: 7,
        upgrade: "ios-monthly".into(),
        browser: true,
        confirmed,
    };
    desk.show(&page(String::new()), &NewSubscriptionPage::default());
    desk.show(&page(bold()), &NewSubscriptionPage::default());
    let page = CancelSubscriptionPage { receipt_id: bold(), until: bold() };
    desk.show(&page, &CancelSubscriptionPage::default());

    let known: BTreeSet<&str> = TEMPLATES.iter().map(|(name, _)| *name).filter(|name| !PARTS.contains(name)).collect();
    assert_eq!(desk.seen, known, "a template is not tried");
}
