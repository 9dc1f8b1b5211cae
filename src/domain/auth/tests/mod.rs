mod codes;
mod methods;
mod sign_in;
mod sign_up;
mod tokens;
