mod codes;
mod methods;
mod names;
mod sign_in;
mod sign_up;
mod tokens;
