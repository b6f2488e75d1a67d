// Before anything is drawn: the theme that was chosen here, or else the system's.
const theme = localStorage.getItem("homeport.theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
