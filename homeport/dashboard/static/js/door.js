// A link from another site brings no cookie along: whoever is signed in all the same goes on at once.
const then = document.querySelector("form[data-then]").dataset.then;
const { signed_in: signedIn } = await (await fetch("/dashboard/session")).json();
if (signedIn) location.replace(then);
