// The whole life of an account, as people live it: at the width of a phone and of a desktop.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, Visitor, WIDTHS } from './browser.js';
import { link, MailServer } from './mail.js';
import { Server } from './server.js';

const PASSWORD = 'Correct-Horse-7';
const NEW_PASSWORD = 'Battery_Staple-8';
const CARD = '4242 4242 4242 4242';

let mail, server, browser;

before(async () => {
  mail = await MailServer.start();
  const prices = { PURCHASE__MONTHLY_USD: '5', PURCHASE__YEARLY_USD: '40' };
  server = await Server.start('portal', { ...mail.settings, ...prices });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await mail?.stop();
  if (server) assert.equal(await server.stop(), 0, 'the server ends by itself when asked');
});

/** The link of the next letter, without the place, which is that of a server on its usual port. */
async function letter(to, path) {
  const { pathname, search } = link(await mail.next(to), path);
  return pathname + search;
}

for (const width of Object.keys(WIDTHS)) {
  test(`an account from beginning to end, ${width}`, async () => {
    const email = `ada.${width}@hill.example`;
    const visitor = await Visitor.arrive(browser, server.url, width);
    const { page } = visitor;
    const says = (text) => page.getByText(text).first().waitFor();

    await visitor.open('/');
    await visitor.check('home');
    await page.getByRole('link', { name: 'Sign up' }).first().click();
    await visitor.check('signup');

    await visitor.submit({ Email: email, Password: 'short' }, 'Create an account');
    assert.equal(visitor.at, '/signup');
    await says('Password must');
    await visitor.check('signup-refused');
    await visitor.submit({ Email: email, Password: PASSWORD }, 'Create an account');
    assert.equal(visitor.at, '/signup-success');
    await visitor.check('signup-success');

    await visitor.open('/signin');
    await visitor.check('signin');
    await visitor.submit({ Email: email, Password: PASSWORD }, 'Sign in');
    assert.equal(visitor.at, '/resend-confirm-code', 'there is no session before the address is proven');
    await visitor.check('resend-confirm-code');

    await visitor.open(await letter(email, '/confirm-email'));
    assert.equal(visitor.at, '/signin');
    await says('Your email address is confirmed');
    await visitor.check('signin-confirmed');
    await visitor.submit({ Email: email, Password: NEW_PASSWORD }, 'Sign in');
    await says('Incorrect Login');
    await visitor.check('signin-refused');
    await visitor.submit({ Email: email, Password: PASSWORD }, 'Sign in');
    assert.equal(visitor.at, '/account');
    await says(email);
    await visitor.check('account');

    await visitor.open('/clients');
    await visitor.submit({}, 'Download the certificate');
    await says('No active subscriptions');
    await visitor.check('clients');

    await visitor.open('/new-subscription?browser=true');
    await visitor.check('new-subscription');
    await page.getByLabel(/days first/).uncheck();
    await visitor.submit({ 'Card number': '4000 0000 0000 0002', 'Expiration date': '12/40' }, 'Subscribe');
    assert.match(visitor.at, /^\/new-subscription/, 'a card that is declined buys nothing');
    await visitor.check('new-subscription-refused');
    await page.getByLabel(/days first/).uncheck();
    await visitor.submit({ 'Card number': CARD, 'Expiration date': '12/40' }, 'Subscribe');
    assert.equal(visitor.at, '/clients');
    await says('Your subscription is active');
    await visitor.check('subscribed');

    const download = page.waitForEvent('download');
    await page.getByLabel('Device').selectOption('mac');
    await page.getByRole('button', { name: 'Download the certificate' }).click();
    const file = await download;
    assert.equal(file.suggestedFilename(), 'certificate.p12');
    const bundle = await file.createReadStream().then((stream) => stream.toArray());
    // A PFX is a SEQUENCE of a long length.
    assert.deepEqual([...Buffer.concat(bundle).subarray(0, 2)], [0x30, 0x82]);

    await visitor.open('/account');
    await says('Pro');
    await says('Certificate');
    await visitor.check('account-subscribed');
    for (const path of ['/invoices', '/payment-methods', '/add-new-card', '/change-email', '/support', '/contact', '/privacy', '/terms']) {
      await visitor.open(path);
      await visitor.check(path.slice(1));
    }
    await visitor.open('/invoices');
    await page.locator('tbody a').first().click();
    await says('5.00 USD');
    await visitor.check('invoice');
    await visitor.open('/add-new-card');
    await visitor.submit({ 'Card number': '5555 5555 5555 4444', 'Expiration date': '01/41' }, 'Add a card');
    assert.equal(visitor.at, '/payment-methods');
    await says('4444');
    await visitor.check('two-cards');
    await page.getByRole('button', { name: 'Delete the card ending in 4444' }).click();
    await says('The card was deleted');

    await visitor.open('/change-password');
    await visitor.check('change-password');
    await visitor.submit({ 'Current password': PASSWORD, 'New password': NEW_PASSWORD }, 'Change the password');
    assert.equal(visitor.at, '/account');
    await says('Your password was changed');
    assert.match((await mail.next(email)).subject, /password was changed/);

    await page.locator('a[href^="/cancel-subscription"]').click();
    await visitor.check('cancel-subscription');
    await visitor.submit({ 'Why do you cancel? (optional)': '<script>alert(1)</script>' }, 'Cancel the subscription');
    assert.equal(visitor.at, '/account');
    await says('Your subscription is cancelled');
    await visitor.check('account-cancelled');

    await page.getByRole('button', { name: 'Remove Certificate' }).click();
    await says('The device was removed');
    await page.getByRole('link', { name: 'Sign out' }).click();
    await page.waitForURL('**/signin');
    await visitor.open('/account');
    assert.equal(visitor.at, '/signin', 'a session that was ended opens nothing');
    await visitor.submit({ Email: email, Password: PASSWORD }, 'Sign in');
    await says('Incorrect Login');

    await visitor.open('/forgot-password');
    await visitor.check('forgot-password');
    await visitor.submit({ Email: email }, 'Send the link');
    assert.equal(visitor.at, '/signin');
    await visitor.open(await letter(email, '/reset-password'));
    await visitor.check('reset-password');
    await visitor.submit({ 'New password': PASSWORD }, 'Set the password');
    assert.equal(visitor.at, '/signin');
    await visitor.submit({ Email: email, Password: PASSWORD }, 'Sign in');
    assert.equal(visitor.at, '/account');

    await visitor.open(await letter(email, '/do-not-email'));
    await visitor.check('do-not-email');
    await visitor.submit({}, 'Send no more mail');
    await visitor.open('/nowhere');
    await says('This page does not exist');
    await visitor.check('not-found');
    await visitor.leave();
  });

  test(`every page in Russian, ${width}`, async () => {
    const visitor = await Visitor.arrive(browser, server.url, width, { locale: 'ru-RU' });
    for (const path of ['/', '/signup', '/signin', '/forgot-password', '/resend-confirm-code', '/clients', '/support', '/nowhere']) {
      await visitor.open(path);
      assert.equal(await visitor.page.locator('html').getAttribute('lang'), 'ru');
      await visitor.check(`ru${path.replaceAll('/', '-')}`);
    }
    await visitor.page.getByRole('link', { name: 'English' }).click();
    assert.equal(await visitor.page.locator('html').getAttribute('lang'), 'en', 'the language can be chosen without scripts');
    await visitor.leave();
  });
}

test('everything works without scripts', async () => {
  const visitor = await Visitor.arrive(browser, server.url, 'desktop', { javaScriptEnabled: false });
  const email = 'bob@hill.example';
  await visitor.open('/signup');
  await visitor.submit({ Email: email, Password: PASSWORD }, 'Create an account');
  await visitor.open(await letter(email, '/confirm-email'));
  await visitor.submit({ Email: email, Password: PASSWORD }, 'Sign in');
  assert.equal(visitor.at, '/account');
  assert.deepEqual(visitor.problems, []);
  await visitor.leave();
});
