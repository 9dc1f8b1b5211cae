mod codes;
mod methods;
mod names;
mod sign_in;
mod sign_in_token;
mod sign_up;
mod tokens;
mod wallet;
