// Package lab holds the tests of what a user finds in the checkout: the README
// does as it says, and what make installs is whole. The directories below have
// the whole-system tests and what they are made of.
package lab
