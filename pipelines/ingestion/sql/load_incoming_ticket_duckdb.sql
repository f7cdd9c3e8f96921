-- Add the rows of the Arrow table `loading` to incoming_ticket; columns go by their names.
INSERT INTO incoming_ticket BY NAME SELECT * FROM loading
