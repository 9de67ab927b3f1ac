"""The pictures of the README, the help pages and the templates, all made by the project itself."""
