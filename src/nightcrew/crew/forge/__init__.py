"""What nightcrew does at a forge (GitHub; GitLab to read): issues in, branches, pull requests and checks out."""
