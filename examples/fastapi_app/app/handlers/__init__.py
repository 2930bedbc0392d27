"""What the steps of the templates in app/config/tasks do."""
