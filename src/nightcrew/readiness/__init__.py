"""Whether nightcrew is ready to run alone, and what a person does when it is not well."""
